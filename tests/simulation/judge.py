"""The judge: the provider's ledger against what we hold, and the invariants of the protocol, at every event.

What is checked when is told in docs/explanation/simulation.md. A violation ends the episode.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from uuid import UUID

from simulator.ledger import Grant as LedgerGrant
from simulator.ledger import Pair
from simulator.provider import SimulatedProvider
from tests.simulation.breaker import Breaker
from tests.simulation.deaths import Deaths
from tests.simulation.journal_judge import JournalJudge
from tests.simulation.keys import token_of
from tests.simulation.limits import Limits
from tests.simulation.living import Living
from tests.simulation.network import Sent
from tests.simulation.refused import Refused
from tests.simulation.tables import ABSENT, WHOLE, Row, Tables, Undo
from tests.simulation.world import EPOCH, World

EPSILON = 1e-6  # s: the rounding of a time of day
FROZEN = "frozen after the last guard"
BOTH_GONE = "a broken journal could not keep it, and the commit is gone"
WALKS_BACK = "an older token set replaced a newer one"


class Violation(BaseException):
    """An invariant does not hold."""

    def __init__(self, invariant: str, told: str, ref: str) -> None:
        super().__init__(f"{invariant}: {told}")
        self.invariant = invariant
        self.ref = ref


class Judge:
    """Sees every request, every answer and every commit."""

    def __init__(
        self,
        world: World,
        tables: Tables,
        provider: SimulatedProvider,
        *,
        may_lose: bool,
        dispatch_lease: timedelta,
        word: str | None = None,
    ) -> None:
        self.world = world
        self.tables = tables
        self.provider = provider
        self.may_lose = may_lose
        self.lost_messages: list[tuple[float, str]] = []  # by the broker: when, and what it said
        self.dispatch_lease = dispatch_lease
        self.consents: dict[UUID, LedgerGrant] = {}  # our row → the consent that it stands for
        self.running: dict[int, list[Sent]] = {}
        self.by_pair: dict[int, Sent] = {}
        self.recorded: set[int] = set()  # pairs that a commit has stored
        self.frozen: Counter[str] = Counter()
        self.losses: Counter[str] = Counter()
        self.grace: float | None = None
        self.troubles: list[tuple[float, float, str]] = []
        self.asked: dict[int, list[Sent]] = {}
        self.volatile: dict[int, Sent] = {}  # token sets that arrived and are in no journal
        self.refreshes = 0
        self.rewound_at: float | None = None
        self.forgives_rewinding = False
        self.unfit_since: float | None = None
        self.changed: set[str] = set()  # kinds of drift that the provider has given reason for
        self.drifted: dict[int, dict[str, float]] = {}  # clients: what was told of drift, and when
        self.taken_back: set[int] = set()  # consents that the provider has refused by mistake
        self.frozen_consents: set[int] = set()  # with a request whose process froze after its last guard
        self.limits = Limits(world, tables, self.consents, self.fail)
        self.breaker = Breaker(tables, self.fail, word=word)
        self.deaths = Deaths(tables, provider.ledger, self.fail)
        self.living = Living(world, tables, self.consents, self.troubles, self.fail, word=word)
        self.refused = Refused(tables, self.consents, self.fail, word=word)
        self.journals = JournalJudge(tables, provider, self.recorded, self.fail)

    # Requests

    def first_byte(self, sent: Sent) -> None:
        """Invariants 1, 5 and 15, at the instant at which a request leaves."""
        pair = self._pair(sent.token)
        ref = pair.grant.ref if pair else "-"
        self.world.log("sent", ref, sent.process.name, sent.endpoint, f"no={sent.number}", sent.fate)
        if pair is not None:
            self.limits.check_storm(pair, ref)
        if sent.endpoint != "token" or pair is None or sent.attempt is None:
            return
        now, sent.consent = self.world.seconds, pair.grant.number
        self.limits.check_lease_left(sent, ref)
        if pair.grant.number not in self.frozen_consents:  # what a frozen process did nobody can know
            self.limits.check_repeat(sent, pair, self.asked.get(sent.consent, ()), ref)
        self.breaker.asked(sent, ref)
        self.asked.setdefault(sent.consent, []).append(sent)
        others = self.running.setdefault(pair.grant.number, [])
        others[:] = [each for each in others if not each.ended and (each.lease_until or 0) > now]
        for other in others:
            if not self._excused(other, sent):
                self.fail("1", f"requests {other.number} and {sent.number} of one grant are under way at once", ref)
        others.append(sent)
        began = sent.attempt.begun.total_seconds()
        self._check_revocation(sent, began, ref)
        if self.unfit_since is not None and began >= self.unfit_since:
            self.fail("15", f"request {sent.number} was begun while commits may be missing", ref)

    def _excused(self, other: Sent, sent: Sent) -> bool:
        if other.frozen or sent.frozen:
            self.frozen["overlapped"] += 1
            return True
        if self.rewound_at is not None and (other.at < self.rewound_at):
            # The row that said so was among the commits that are gone.
            self.frozen["overlapped a fail-over"] += 1
            return self.forgives_rewinding
        # The revocation's own requests follow one another within one attempt.
        return other.attempt is sent.attempt

    def _check_revocation(self, sent: Sent, began: float, ref: str) -> None:
        assert sent.attempt is not None
        job = sent.attempt.job
        revocation = self.tables.revocations.get(job.grant_id)
        if revocation is None or job.status == "revoking":
            return
        asked = (revocation["requested_at"] - self.world.now).total_seconds() + self.world.seconds
        if began > asked + EPSILON:
            self.fail("5", f"request {sent.number} was begun after the grant's revocation was asked for", ref)

    def lost(self, sent: Sent, why: str) -> None:
        """A token set that the provider issued is gone."""
        sent.lost = why
        if sent.pair is not None and sent.seen is not None:
            self.by_pair[sent.pair] = sent
            self.provider.withhold(sent.seen, self.world.seconds, why)

    def made_durable(self, held: list[Sent], bodies: Sequence[bytes]) -> None:
        """Answers were journaled: whatever dies now, they are not lost."""
        for sent in [each for each in held if each.body in bodies]:
            sent.durable = True
            held.remove(sent)
            self.volatile.pop(sent.number, None)

    def rewound(self) -> None:
        """Commits are gone: what no journal could keep is gone with them."""
        self.rewound_at = self.world.seconds
        self.unfit_since = self.world.seconds
        self.limits.rewound()
        self.breaker.rewound()
        self.deaths.rewound()
        self.living.rewound()
        self.refused.rewound()
        held = {row["refresh_fingerprint"] for row in self.tables.grants.values()}
        held |= {row["refresh_fingerprint"] for rows in self.tables.former.values() for row in rows.values()}
        tokens = {token_of(each) for each in held if each}
        self.journals.rewound(tokens)
        for sent in [each for each in self.volatile.values() if each.pair in self.recorded]:
            pair = self.provider.ledger.grants[sent.consent].pairs.get(sent.pair or 0) if sent.consent else None
            if pair is not None and pair.refresh_token not in tokens and not sent.lost:
                self.lost(sent, BOTH_GONE)

    def killed(self, held: Iterable[Sent], *, step: str, disk_fails: bool) -> None:
        """A process died with these requests; what it had not journaled nor committed is gone."""
        for sent in held:
            if sent.pair is None or sent.durable or sent.pair in self.recorded or sent.lost:
                continue
            if sent.settling and step.startswith("database"):
                if not disk_fails:
                    self.fail("journal", f"the answer to {sent.number} was not journaled before it was settled", "-")
                self.lost(sent, "killed before the commit, and a broken journal could not keep it")
            else:
                self.lost(sent, "killed between the provider's act and our fsync")

    # Commits

    def committed(self, undo: Undo) -> None:
        """Look at every row that a transaction changed."""
        befores: dict[int, Row] = {}
        changed: list[tuple[Row, Row]] = []
        for table, key, before in undo:
            if key is WHOLE and id(table) not in befores:
                befores[id(table)] = before
                changed.append((before, table))  # type: ignore[arg-type]  # a row, where it was changed as a whole
            elif before is ABSENT and isinstance(row := table.get(key), dict):
                self._put(row)
        for before, row in changed:
            if "claim_no" in row:
                self._grant_changed(before, row, befores)
        for before, row in changed:  # a claim is judged by the valve that it found
            if "claim_no" not in row:
                self._other_changed(before, row)
        self.breaker.commit_ended()

    def _put(self, row: Row) -> None:
        if "refresh_fingerprint" in row:
            self._record(row["refresh_fingerprint"])
        elif "cause" in row:
            self.refused.letter_written(row)

    def _other_changed(self, before: Row, row: Row) -> None:
        if "drift_watch" in row:
            self._drifts(before, row)
        elif "strike_grant_ids" in row:
            self.breaker.valve_changed(before, row)
            self.living.valve_changed(before, row)
            self.refused.valve_changed(before, row)
        elif "witness_grant_ids" in row:
            self.living.witness_changed(row)
        elif "replayed_incident" in row:
            self.journals.journal_changed(before, row)
        elif "incident_at" in row:
            if row["incident_at"] is None and row["timeline"] == self.tables.timeline:
                self.unfit_since = None
                self.living.fit()
        elif "evidence" in row and row["status"] == "done" and before["status"] != "done":
            self._revoked(row)

    def _drifts(self, before: Row, row: Row) -> None:
        """Drift is told where the provider has changed, and never else."""
        for what in row["drift"] or ():
            if what in (before["drift"] or ()):
                continue
            self.world.log("drift", row["name"], what, row["rotation"])
            self.drifted.setdefault(row["id"], {})[what] = self.world.seconds
            if what not in self.changed:
                self.fail("drift", f"{row['name']} is told to have drifted ({what}), and has not", row["name"])

    def _record(self, fingerprint: bytes | None) -> None:
        if fingerprint is not None and (pair := self._pair(token_of(fingerprint))) is not None:
            self.recorded.add(pair.number)
            self.journals.stored(pair)

    def _grant_changed(self, before: Row, after: Row, befores: Mapping[int, Row]) -> None:
        self._check_lease(after)
        if before["generation"] != after["generation"] or before["refresh_fingerprint"] != after["refresh_fingerprint"]:
            self._stored(before, after)
        elif after["claimed_at"] is not None and after["claimed_at"] != before["claimed_at"]:
            self.breaker.claimed(before, after)
        if after["started_at"] is not None and after["started_at"] != before["started_at"]:
            self.breaker.begun(before, after)
            self.deaths.begun(after, self.world.current)
            self.refused.begun(after)
        if after["attempts"] > before["attempts"]:
            self.deaths.ended(before, after, self.world.current)
            self.refused.ended(after)
        elif after["attempts"] < before["attempts"] or before["status"] == "paused":
            self.refused.forget(after["id"])
        if before["status"] != after["status"] or before["doubt_since"] != after["doubt_since"]:
            doubt = "doubt" if after["doubt_since"] else "-"
            self.world.log("row", after["ref"], after["status"], f"g={after['generation']}", doubt, after["reason"])
        if before["status"] != "needs_consent" and after["status"] == "needs_consent":
            self._verdict(after)
            self.deaths.declared(after, self.consents[after["id"]], befores)
            self.refused.declared(after)

    def _stored(self, before: Row, after: Row) -> None:
        ref = after["ref"]
        self._record(after["refresh_fingerprint"])
        old, new = (
            self._pair(token_of(row["refresh_fingerprint"])) if row["refresh_fingerprint"] else None
            for row in (before, after)
        )
        number = new.number if new else None
        self.world.log("stored", ref, f"g={after['generation']}", f"pair={number}", f"claim={after['claim_no']}")
        if after["generation"] < before["generation"]:
            self.fail("3", f"the generation went back from {before['generation']} to {after['generation']}", ref)
        if old and new and new.number < old.number:
            self.fail("3", f"pair {new.number} replaced pair {old.number}: {WALKS_BACK}", ref)
        if after["generation"] > before["generation"]:
            self.refreshes += 1
            self.frozen["brought back a grant that was thought dead"] += before["status"] == "needs_consent"
            self.living.judge(before)
            if self.deaths.begun_by(after["id"]) is self.world.current:
                self.refused.refreshed(after)

    def _check_lease(self, row: Row) -> None:
        """Invariant 11: whatever was claimed or begun is due again within its lease."""
        since = row["started_at"] or row["claimed_at"]
        if since is None or row["status"] not in ("active", "revoking"):
            return
        lease = max(self.tables.clients[row["client_id"]]["attempt_lease"], self.dispatch_lease)
        if row["due_at"] > max(since, self.world.now) + lease and row["claimed_at"] is not None:
            self.fail("11", "a claim outlives its lease", row["ref"])

    def _verdict(self, row: Row) -> None:
        """Invariant 4: only a grant whose every known token is dead at the provider needs consent."""
        consent, now = self.consents[row["id"]], self.world.seconds
        alive = [pair for pair in consent.pairs.values() if pair.refresh_alive(now) and not pair.undelivered]
        if consent.number in self.taken_back:
            return  # nobody can know, and a second look will tell
        if alive and consent.revoked_at is None:
            numbers = [pair.number for pair in alive]
            self.fail("4", f"declared dead ({row['reason']}) though pairs {numbers} live", row["ref"])
        first = min((s.at for s in self.by_pair.values() if s.consent == consent.number), default=now)
        remembers = self.rewound_at is None or self.rewound_at < first  # else the doubt is among the missing commits
        known = remembers and consent.number not in self.frozen_consents
        if consent.revoked_at is None and row["reason"] != "response_lost" and known:
            self.fail("attribution", f"a lost answer was told as {row['reason']}", row["ref"])

    def _revoked(self, row: Row) -> None:
        """Invariant 6: `verified` only when every token ever received is dead."""
        consent, now = self.consents[row["grant_id"]], self.world.seconds
        known = [pair for pair in consent.pairs.values() if not pair.undelivered]
        alive = [pair.number for pair in known if pair.refresh_alive(now)]
        self.world.log("revoked", row["ref"], row["evidence"], f"alive={alive}")
        if alive and row["evidence"] == "verified" and consent.number not in self.taken_back:
            self.fail("6", f"verified, though pairs {alive} live", row["ref"])

    # The end

    def lost_now(self) -> Iterable[LedgerGrant]:
        """Consents of which we know no living refresh token, though nobody asked for their end."""
        return self.provider.ledger.lost(self.world.seconds)

    def count_losses(self) -> None:
        """Attribute every loss; one that cannot be attributed, or must not be, is a violation."""
        for grant in self.lost_now():
            why = self._why_lost(grant)
            if why is None:
                self.fail("lost", f"lost by us: {grant.lost_why} (request {grant.lost_request})", grant.ref)
            elif not self.may_lose and (why := self._why_not_repeated(grant)) is None:
                self.fail("lost", f"lost where nothing may be lost: {grant.lost_why}", grant.ref)
            else:
                self.losses[why] += 1

    def trouble(self, kind: str, seconds: float) -> None:
        """Something of ours is away for so long: what must be done within seconds may be impossible."""
        self.troubles.append((self.world.seconds, self.world.seconds + seconds, kind))

    def _why_not_repeated(self, grant: LedgerGrant) -> str | None:
        """At `grace`: why no answer arrived while the old refresh token lived; None: one could have."""
        asked = self.asked.get(grant.number, [])
        last = max((at for at, each in enumerate(asked) if each.lost), default=None)
        if self.grace is None:
            return None
        if last is None:  # no answer was lost: only a late request can have presented what was spent
            return FROZEN if grant.number in self.frozen_consents else None
        if asked[last].lost == BOTH_GONE:  # it was stored, so nobody was in doubt while its predecessor lived
            return BOTH_GONE
        first = last
        while first > 0 and asked[first - 1].fate != "ok" and asked[last].at - asked[first - 1].at < self.grace:
            first -= 1
        if sum(each.at - asked[first].at <= self.grace for each in asked[first:]) > 1:
            return "its repeats within the grace failed, too"
        begun, over = asked[first].at, asked[first].at + self.grace
        if self._end_was_asked_for(grant, before=over):
            return "its end was asked for before its repeat"
        kinds = sorted({kind for begin, end, kind in self.troubles if begin < over and end > begun})
        kinds += ["its messages were lost"] * self._lost_a_message(grant, begun, over)
        return f"no repeat within its grace: {', '.join(kinds)}" if kinds else None

    def _lost_a_message(self, consent: LedgerGrant, begun: float, over: float) -> bool:
        """Whether the broker lost a message of this grant: two or three in a row, and its grace is over."""
        ids = [str(grant_id) for grant_id, each in self.consents.items() if each is consent]
        told = [message for at, message in self.lost_messages if begun < at < over]
        return any(grant_id in message for grant_id in ids for message in told)

    def _end_was_asked_for(self, consent: LedgerGrant, *, before: float) -> bool:
        """Whether somebody wanted its end, be it by a new consent: then its old token is repeated no more."""
        ids = [grant_id for grant_id, each in self.consents.items() if each is consent]
        asked = [self.tables.revocations[each]["requested_at"] for each in ids if each in self.tables.revocations]
        return any((at - EPOCH).total_seconds() <= before for at in asked)

    def _why_lost(self, grant: LedgerGrant) -> str | None:
        """The first token set of the consent that was lost on its way: all that follows comes from that."""
        lost = [pair for pair in grant.pairs.values() if pair.undelivered and pair.number in self.by_pair]
        if not lost:
            return FROZEN if grant.number in self.frozen_consents else None
        first = min(lost, key=lambda pair: pair.number)
        return self.by_pair[first.number].lost

    def check_held(self) -> None:
        """Invariant 2 and the promise: every living pair that reached us is in its row, or recorded beside it."""
        now = self.world.seconds
        for grant_id, consent in self.consents.items():
            row = self.tables.grants.get(grant_id)
            if row is None or consent.revoked_at is not None or grant_id in self.tables.revocations:
                continue
            held = {row["refresh_fingerprint"]}
            held |= {each["refresh_fingerprint"] for each in self.tables.former_of(grant_id).values()}
            tokens = {token_of(each) for each in held if each}
            alive = [
                pair for pair in consent.pairs.values()
                if pair.refresh_alive(now) and not pair.undelivered and not pair.shares_refresh_token
            ]  # fmt: skip
            for pair in alive:
                if pair.refresh_token in tokens or self._is_predecessor(pair, consent):
                    continue
                if not self._lost_its_place(pair, row):
                    self.fail("2", f"pair {pair.number} lives and is held nowhere", row["ref"])
            if alive and not any(pair.refresh_token in tokens for pair in alive):
                self.fail("lost", "nothing that we hold lives", row["ref"])

    def _is_predecessor(self, pair: Pair, consent: LedgerGrant) -> bool:
        """At `grace` an old pair lives on for seconds, and nobody needs it."""
        return pair.spent > 0 and any(each.parent == pair.number for each in consent.pairs.values())

    def _lost_its_place(self, pair: Pair, row: Row) -> bool:
        """Whether a pair was surplus before commits were lost: what replaced it later has its place, and that is noted.

        Nobody needs it, and since the grant is told to have been in doubt its end is never called verified.
        """
        before = self.rewound_at is not None and pair.issued_at <= self.rewound_at
        return before and bool(row["ever_in_doubt"])

    # Steps

    def froze(self, sent: Sent) -> None:
        """A process froze after its last guard and before the first byte: the one exception."""
        self.frozen["after the last guard"] += 1
        if (pair := self._pair(sent.token)) is not None:
            self.frozen_consents.add(pair.grant.number)

    def _pair(self, token: str) -> Pair | None:
        ledger = self.provider.ledger
        return ledger.by_refresh_token.get(token) or ledger.by_access_token.get(token)

    def fail(self, invariant: str, told: str, ref: str) -> None:
        """End the episode."""
        raise Violation(invariant, told, ref)
