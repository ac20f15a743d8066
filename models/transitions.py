"""Every statement that writes a grant or a revocation: from which status to which, and what of the lease it writes.

A table to read, held to the statements by tests: whoever writes another one adds a line. Who is under way is told by
four columns of a grant: `due_at`, `claimed_at`, `started_at` and `claim_no`. Work writes `due_at`: a claim, a start,
an end, a release. So does what puts a token set there (made, imported, replaced), a redrive, a waking, and a life
that is told after that, over the very value that the token set brought; pausing, resuming and retiring a grant leave
it as it is.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum

from models.states.grant import GrantStatus
from models.states.revocation import RevocationStatus

Status = GrantStatus | RevocationStatus

ACTIVE = GrantStatus.ACTIVE
PAUSED = GrantStatus.PAUSED
NEEDS_CONSENT = GrantStatus.NEEDS_CONSENT
REVOKING = GrantStatus.REVOKING
REVOKED = GrantStatus.REVOKED
QUEUED = RevocationStatus.QUEUED
WAITING = RevocationStatus.WAITING
DONE = RevocationStatus.DONE
DEAD = RevocationStatus.DEAD
KEPT = frozenset({ACTIVE, PAUSED, NEEDS_CONSENT})
GRANTS = frozenset[Status](GrantStatus)
REVOCATIONS = frozenset[Status](RevocationStatus)


class Lease(StrEnum):
    """The columns that say whose turn it is."""

    DUE_AT = "due_at"
    CLAIMED_AT = "claimed_at"
    STARTED_AT = "started_at"
    CLAIM_NO = "claim_no"


CLAIM = frozenset({Lease.DUE_AT, Lease.CLAIMED_AT, Lease.CLAIM_NO})
DUE_AT = frozenset({Lease.DUE_AT})
ALL = frozenset(Lease)
NOTHING: frozenset[Lease] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """What one statement may do to one table.

    `before`: the statuses of the rows that it may change; none where it only makes rows. `moves`: from and to, where
    the status changes; from None: the row is made. `by_caller`: it has no condition of its own, for its caller has
    locked rows that it found so.
    """

    statement: str
    does: str
    before: AbstractSet[Status] = frozenset()
    moves: tuple[tuple[Status | None, Status], ...] = ()
    lease: AbstractSet[Lease] = NOTHING
    by_caller: bool = False


def _to(after: Status, before: AbstractSet[Status]) -> tuple[tuple[Status | None, Status], ...]:
    return tuple((status, after) for status in (*GrantStatus, *RevocationStatus) if status in before - {after})


OF_GRANTS = (
    # Claims: beat, or an operator's probe.
    Writer(statement="models.claim.DUE", does="claims what is due", before={ACTIVE}, lease=CLAIM),
    Writer(statement="models.claim.FAILING", does="claims what is due and failed before", before={ACTIVE}, lease=CLAIM),
    Writer(statement="models.claim.REPEATS", does="claims what is in doubt, at `grace`", before={ACTIVE}, lease=CLAIM),
    Writer(statement="models.claim.CANARY", does="claims who tries a shut valve", before={ACTIVE}, lease=CLAIM),
    Writer(statement="models.claim.WITNESS", does="claims who was well last, due or not", before={ACTIVE}, lease=CLAIM),
    Writer(statement="models.claim.REQUESTED", does="claims what somebody asked for", before={ACTIVE}, lease=CLAIM),
    Writer(
        statement="models.claim.REVOCATIONS",
        does="claims what is to be revoked",
        before=KEPT | {REVOKING},
        moves=_to(REVOKING, KEPT),
        lease=CLAIM,
    ),
    Writer(statement="models.second_look.CLAIM", does="claims for a second look", before={NEEDS_CONSENT}, lease=CLAIM),
    Writer(statement="models.probe.TAKE", does="claims for a probe", before={ACTIVE, PAUSED}, lease=CLAIM),
    # An attempt begins, or is given back.
    Writer(
        statement="models.attempt.START",
        does="begins an attempt: on an active grant, for a probe on a paused one, for a revocation on a revoking one, "
        "for a second look on a dead one",
        before={ACTIVE, PAUSED, REVOKING, NEEDS_CONSENT},
        lease=ALL,
    ),
    Writer(
        statement="models.attempt.RELEASE",
        does="gives a claim or an attempt back",
        before=GRANTS,
        lease=ALL - {Lease.CLAIM_NO},
    ),
    # It ends.
    Writer(
        statement="models.token_set.STORE",
        does="stores a token set, whatever became of the grant meanwhile",
        before=GRANTS,
        moves=((NEEDS_CONSENT, ACTIVE),),
        lease=ALL,
    ),
    Writer(
        statement="models.ended_attempt.END",
        does="ends an attempt without a token set; the verdict, if one falls",
        before=GRANTS,
        moves=((ACTIVE, NEEDS_CONSENT),),
        lease=frozenset({Lease.DUE_AT, Lease.STARTED_AT}),
    ),
    Writer(
        statement="models.token_set.REOPEN_GRANTS",
        does="brings a dead grant back for which a token set arrived: that must die, too",
        before={REVOKED},
        moves=((REVOKED, REVOKING),),
    ),
    Writer(
        statement="models.access_life.LEARN",
        does="writes what an introspection told of the life of the token set just stored, and when it is due by that, "
        "where nobody has written that since",
        before={ACTIVE, PAUSED},
        lease=DUE_AT,
    ),
    Writer(statement="models.label.KEEP", does="keeps labels that the provider gave", before=KEPT | {REVOKING}),
    Writer(statement="models.ended_attempt.NOT_IN_JOURNAL", does="takes a journal out of a doubt", before=GRANTS),
    Writer(statement="models.token_set.UNPLACED", does="notes that a pair may live", before=GRANTS),
    Writer(statement="models.token_set.DROP_OLDEST_PREDECESSORS", does="notes that a pair may live", before=GRANTS),
    Writer(statement="models.journal.DRAINED", does="takes a journal out of a doubt", before=GRANTS),
    Writer(statement="models.journal.ABANDONED", does="takes a journal out of a doubt", before=GRANTS),
    # A revocation ends, or its attempt does.
    Writer(
        statement="models.revocation.DONE",
        does="ends a grant, and shreds what it held",
        before=GRANTS,
        moves=_to(REVOKED, GRANTS),
        lease=ALL - DUE_AT,
    ),
    Writer(
        statement="models.revocation.FREE",
        does="ends an attempt to revoke",
        before=GRANTS,
        lease=frozenset({Lease.CLAIMED_AT, Lease.STARTED_AT}),
    ),
    # Grants come in, are replaced, and leave.
    Writer(
        statement="models.consent.INSERT",
        does="makes a row of a consent; of one that was replaced since, a row on its way to the end",
        moves=((None, ACTIVE), (None, REVOKING)),
        lease=DUE_AT,
    ),
    Writer(
        statement="models.consent.RETIRE",
        does="sends the row to its end whose ref has a new consent",
        before=KEPT | {REVOKING},
        moves=_to(REVOKING, KEPT),
        lease=frozenset({Lease.CLAIMED_AT, Lease.CLAIM_NO}),
        by_caller=True,
    ),
    Writer(
        statement="models.bulk_import.MAKE",
        does="makes rows of an import",
        moves=((None, ACTIVE), (None, PAUSED)),
        lease=DUE_AT,
    ),
    Writer(
        statement="models.bulk_import.OVERWRITE",
        does="puts an imported token set in the place of the one held",
        before=KEPT,
        moves=_to(ACTIVE, KEPT) + _to(PAUSED, KEPT),
        lease=ALL,
    ),
    Writer(
        statement="models.handover.PAUSE",
        does="pauses what leaves for another home",
        before={ACTIVE, PAUSED},
        moves=((ACTIVE, PAUSED),),
    ),
    Writer(
        statement="models.handover.TAKE_BACK",
        does="lets what could not leave be as it was",
        before={PAUSED},
        moves=((PAUSED, ACTIVE),),
    ),
    # Operators.
    Writer(
        statement="models.operator_actions.SET_STATUS",
        does="pauses, and resumes",
        before={ACTIVE, PAUSED},
        moves=((ACTIVE, PAUSED), (PAUSED, ACTIVE)),
    ),
    Writer(statement="models.operator_actions.SET_GRANT", does="changes labels, and how it is kept", before=GRANTS),
    Writer(
        statement="models.redrive.ASK_NOW",
        does="redrives: asks at once, as if it had never failed",
        before={ACTIVE, NEEDS_CONSENT},
        moves=((NEEDS_CONSENT, ACTIVE),),
        lease=CLAIM,
    ),
    Writer(
        statement="models.waking.WAKE_FAILING",
        does="asks at once who failed with what an operator has mended",
        before={ACTIVE},
        lease=DUE_AT,
    ),
    # The database's clock was set back.
    Writer(
        statement="models.set_back.STATEMENTS[grants]",
        does="moves what was written while the clock was ahead",
        before=GRANTS,
        lease=frozenset({Lease.DUE_AT, Lease.CLAIMED_AT}),
    ),
    # What is kept of it.
    Writer(statement="models.sealing.reseal.Place", does="seals what it holds with the active key", before=GRANTS),
    Writer(statement="tasks.upkeep.SHRED_DEAD", does="shreds what a dead grant held", before={NEEDS_CONSENT}),
    Writer(statement="models.erasure.FORGET_REF[7]", does="forgets whose it was", before={REVOKED}, by_caller=True),
    Writer(statement="models.erasure.FORGET_FINGERPRINTS", does="forgets its fingerprint", before={REVOKED}),
)

OF_REVOCATIONS = (
    Writer(statement="evergrant.request_revocation", does="an application asks", moves=((None, QUEUED),)),
    Writer(statement="models.operator_actions.REQUEST_REVOCATION", does="an operator asks", moves=((None, QUEUED),)),
    Writer(
        statement="models.held_revocation.ACCEPT",
        does="an operator lets go on what an application's limit has held",
        moves=((None, QUEUED),),
    ),
    Writer(
        statement="models.consent.REPLACE",
        does="a new consent asks: at once, or when its successor ends, where one revocation kills both",
        moves=((None, QUEUED), (None, WAITING)),
    ),
    Writer(
        statement="models.revocation.AGAIN",
        does="tries again later, or gives up",
        before={QUEUED},
        moves=((QUEUED, DEAD),),
        lease=DUE_AT,
    ),
    Writer(
        statement="models.revocation.WAKE_REPLACED",
        does="queues what waited for its successor's end",
        before={WAITING},
        moves=((WAITING, QUEUED),),
        lease=DUE_AT,
    ),
    Writer(
        statement="models.revocation.DONE",
        does="ends it, with evidence",
        before=REVOCATIONS,
        moves=_to(DONE, REVOCATIONS),
    ),
    Writer(
        statement="models.revocation.END_AGAIN",
        does="ends it again, where a journal knows of its end and the database has forgotten it",
        before=REVOCATIONS - {DONE},
        moves=((None, DONE), *_to(DONE, REVOCATIONS)),
    ),
    Writer(statement="models.revocation.CURRENT_DEAD", does="notes that the row's pair is dead", before=REVOCATIONS),
    Writer(
        statement="models.token_set.REOPEN",
        does="queues it again where a token set arrived; one that was given up stays so",
        before=REVOCATIONS,
        moves=((DONE, QUEUED),),
        lease=DUE_AT,
    ),
    Writer(
        statement="models.redrive.QUEUE_AGAIN",
        does="redrives",
        before={DEAD},
        moves=((DEAD, QUEUED),),
        lease=DUE_AT,
    ),
    Writer(
        statement="models.set_back.STATEMENTS[revocations]",
        does="moves what was written while the clock was ahead",
        before=REVOCATIONS,
        lease=DUE_AT,
    ),
    Writer(statement="models.erasure.FORGET_REF[4]", does="forgets whose it was", before={DONE}, by_caller=True),
)

WRITERS = {"grants": OF_GRANTS, "revocations": OF_REVOCATIONS}
