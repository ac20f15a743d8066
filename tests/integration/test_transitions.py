"""Each line of the table of transitions, tried: in which status a statement changes a row, and what becomes of it."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, TextClause, text

from models import bulk_import, installation
from models import database as models_database
from models.sealing.reseal import Place
from models.states.grant import ConsentReason, GrantStatus, PauseReason
from models.states.revocation import Evidence, RevocationStatus
from models.transitions import WRITERS, Status, Writer
from tests import statements
from tests.databases import Databases

LINES = [(table, writer) for table, writers in WRITERS.items() for writer in writers]
GRANT, SUCCESSOR, MADE = uuid4(), uuid4(), uuid4()
NOW = datetime.now(UTC)
LEASE = timedelta(seconds=30)
DAY = timedelta(days=1)

CLIENT = text("""
with client as (
    insert into evergrant.clients (name, provider, client_id, rotation, burst, attempt_lease, grace)
    values (:name, 'generic', 'id', 'grace', 20, '60 seconds', '1 hour') returning id
)
insert into evergrant.valves (client_id) select id from client returning client_id
""")
JOURNAL = text("insert into evergrant.journals (host, process) values ('here', '1') returning id")
INSERT_GRANT = text("""
insert into evergrant.grants (id, client_id, ref, status, generation, sealed_refresh_token, sealed_access_token,
    refresh_fingerprint, access_expires_at, life, due_at, claim_no)
values (:id, :client_id, 'customer', :status, 3, '\\x01', '\\x02', '\\x03', now() + interval '40 minutes', '2 hours',
    now() - interval '1 hour', 5)
""")
INSERT_REVOCATION = text("""
insert into evergrant.revocations (client_id, grant_id, ref, status, due_at)
values (:client_id, :grant_id, 'customer', :status, now() - interval '1 hour') returning id
""")
# What a grant's revocation stands at where the grant is on its way to the end, and the other way round.
REVOCATION_OF: dict[Status | None, Status] = {
    GrantStatus.REVOKING: RevocationStatus.QUEUED,
    GrantStatus.REVOKED: RevocationStatus.DONE,
}
GRANT_OF: dict[Status | None, Status] = {None: GrantStatus.ACTIVE, RevocationStatus.DONE: GrantStatus.REVOKED}


@dataclass(frozen=True)
class Scene:
    """One client with a journal, and at most one grant and its revocation."""

    connection: Connection
    client_id: int
    journal_id: int
    revocation_id: int | None = None

    def run(self, sql: str, **values: Any) -> None:
        self.connection.execute(text(sql), {"client_id": self.client_id, "grant": GRANT, **values})

    def set(self, **columns: Any) -> None:
        """Set columns of the grant."""
        assignments = ", ".join(f"{name} = :{name}" for name in columns)
        self.run(f"update evergrant.grants set {assignments} where id = :grant", **columns)  # noqa: S608

    def seen(self, table: str, grant_id: UUID) -> tuple[str, str] | None:
        """Place and status of the row that a statement is tried on: another place, and it was changed."""
        key = "id" if table == "grants" else "grant_id"
        query = f"select ctid::text, status from evergrant.{table} where {key} = :id"  # noqa: S608
        row = self.connection.execute(text(query), {"id": grant_id}).one_or_none()
        return None if row is None else (row[0], row[1])


def _nothing(scene: Scene) -> None:
    del scene


@dataclass(frozen=True)
class Try:
    """How to try a statement: its parameters, each set of them by itself, and what must be there for it."""

    variants: Sequence[Mapping[str, Any]] = ({},)
    prepare: Callable[[Scene], None] = _nothing
    revoked: bool = False  # the grant's end was asked for, whatever its row says
    call: TextClause | None = field(default=None)  # where the statement is none by itself


def _incoming(status: GrantStatus, grant_id: UUID) -> Callable[[Scene], None]:
    def prepare(scene: Scene) -> None:
        scene.connection.execute(bulk_import.TABLE)
        scene.run(
            """insert into pg_temp.incoming (id, ref, status, labels, sealed_refresh_token, refresh_fingerprint, life,
                ever_in_doubt) values (:id, 'customer', :status, '{}', '\\x07', '\\x08', '1 hour', false)""",
            id=grant_id,
            status=status,
        )

    return prepare


def _requested(scene: Scene) -> None:
    scene.run(
        """insert into evergrant.refresh_requests (client_id, grant_id, generation, requested_by)
            values (:client_id, :grant, 3, 'tests')"""
    )


def _in_doubt(scene: Scene) -> None:
    scene.set(doubt_since=NOW - timedelta(minutes=5), doubt_journals=[scene.journal_id])


def _told(scene: Scene) -> None:
    scene.run(
        """insert into evergrant.dead_letters (kind, client_id, grant_id, ref, generation, cause, attempts,
            first_failed_at, dead_at, look_at)
        select 'refresh', client_id, id, ref, generation, 'revoked_or_expired', 2, now(), now(), now()
        from evergrant.grants where id = :grant"""
    )


def _crowded(scene: Scene) -> None:
    scene.run(
        """insert into evergrant.former_tokens (grant_id, kind, generation, sealed_refresh_token, refresh_fingerprint)
            values (:grant, 'predecessor', 2, '\\x05', '\\x06')"""
    )


def _erased(scene: Scene) -> None:
    scene.run("insert into evergrant.erasures (grant_id, erased_at) values (:grant, now() - interval '1 day')")


def _replaced(scene: Scene) -> None:
    """Another grant of the ref, whose revocation has just ended."""
    scene.connection.execute(INSERT_GRANT, {"id": SUCCESSOR, "client_id": scene.client_id, "status": "revoked"})
    scene.connection.execute(INSERT_REVOCATION, {"client_id": scene.client_id, "grant_id": SUCCESSOR, "status": "done"})


def _held(scene: Scene) -> None:
    """An application wanted its end, and its limit holds that."""
    scene.connection.execute(HOLD, {"client_id": scene.client_id, "grant_id": GRANT})


def _columns(**columns: Any) -> Callable[[Scene], None]:
    return lambda scene: scene.set(**columns)


ANSWER: dict[str, Any] = {
    "grant_id": [GRANT],
    "generation": [3],
    "sealed_refresh_token": [b"r"],
    "sealed_access_token": [b"a"],
    "refresh_fingerprint": [b"f"],
    "scope": ["all"],
    "life": [timedelta(hours=2)],
    "started_at": [NOW],
    "due_at": [NOW],
    "refresh_expires_at": [None],
    "consent_expires_at": [None],
    "credentials_no": [1],
    "spent_refused_at": [None],
    "sent": [b"\x03"],
}
NEW_ROW = ANSWER | {
    "id": [MADE],
    "ref": ["customer"],
    "labels": ["{}"],
    "keep": [None],
    "access_expires_at": [NOW + DAY],
    "refreshed_at": [NOW],
    "created_at": [NOW],
}
ENDED = {"grant_id": [GRANT], "claim_no": [5], "generation": [3], "due_at": [NOW], "code": ["x"], "http_status": [400]}
ENDED |= {"unknown": [False], "failed": [True], "suspect": [False], "refused": [False], "rule": [None], "shape": [None]}
# What a statement is given where its own try says nothing else.
USUAL = {
    "of_formers": False,
    "id": GRANT,
    "ids": [GRANT],
    "grant_id": GRANT,
    "ref": "customer",
    "claim_no": 5,
    "claim_nos": [5],
    "waits": [LEASE],
    "wait": LEASE,
    "at": NOW,
    "ended_at": NOW,
    "now": None,
    "lease": LEASE,
    "most": 10,
    "last": None,
    "failed_since": None,
    "environment": "test",
    "tick": None,
    "keep": "warm",
    "labels": json.dumps({"a": ["b"]}),
    "values": [json.dumps({"a": ["c"]})],
    "evidence": Evidence.VERIFIED,
    "reason": None,
    "who": "tests",
    "actor": "tests",
    "failed": False,
    "code": None,
    "http_status": None,
}
HOLD = text("""
insert into evergrant.held_revocations (id, client_id, grant_id, erase, requested_by, counted_as)
values (0, :client_id, :grant_id, false, 'tests', 'tests')
""")
# Of this client's: what another test has left in the database may have a ref of the same name.
ASK = text("""
select evergrant.request_revocation(ref => :ref, client => c.name) from evergrant.clients c where c.id = :client_id
""")
RESEAL = text(Place("grants", "sealed_refresh_token", "refresh", "refresh", id_type="uuid").write)
BY_STATUS = [{"status": each} for each in GrantStatus if each is not GrantStatus.REVOKED]
CLAIMED = {"claimed_at": NOW, "due_at": NOW + DAY}  # a lease that ends while the tests run would start nothing
TRIES = {
    "models.claim.FAILING": Try(prepare=_columns(failures=1)),
    "models.claim.REPEATS": Try(prepare=_in_doubt),
    "models.claim.REQUESTED": Try(prepare=_requested),
    "models.claim.REVOCATIONS": Try(revoked=True),
    "models.probe.TAKE": Try([{"statuses": ["active"]}, {"statuses": ["active", "paused"]}]),
    "models.second_look.CLAIM": Try([{"waits": [LEASE, LEASE, LEASE]}], prepare=_told),
    "models.attempt.START": Try(BY_STATUS, prepare=_columns(**CLAIMED)),
    "models.attempt.RELEASE": Try(prepare=_columns(**CLAIMED)),
    "models.token_set.STORE": Try([ANSWER]),
    "models.access_life.LEARN": Try(
        [{"generations": [3], "due_before": [NOW], "lives": [timedelta(minutes=1)], "due_at": [NOW + DAY]}]
    ),
    "models.ended_attempt.END": Try(
        [ENDED | {"reason": [None]}, ENDED | {"reason": [ConsentReason.RESPONSE_LOST]}],
        prepare=_columns(started_at=NOW),
    ),
    "models.ended_attempt.NOT_IN_JOURNAL": Try([{"started_at": [NOW]}], prepare=_in_doubt),
    "models.token_set.DROP_OLDEST_PREDECESSORS": Try([{"kept": 0}], prepare=_crowded),
    "models.journal.DRAINED": Try([{"id": "journal_id"}], prepare=_in_doubt),
    "models.journal.ABANDONED": Try([{"id": "journal_id", "by": "tests"}], prepare=_in_doubt),
    "models.revocation.DONE": Try(revoked=True),
    "models.revocation.AGAIN": Try([{"dead": False}, {"dead": True, "failed": True}]),
    "models.revocation.WAKE_REPLACED": Try([{"grant_id": SUCCESSOR}], prepare=_replaced),
    "models.consent.INSERT": Try([NEW_ROW | {"status": ["active"]}, NEW_ROW | {"status": ["revoking"]}]),
    "models.held_revocation.ACCEPT": Try(prepare=_held),
    "models.consent.REPLACE": Try([{"status": "queued"}, {"status": "waiting"}]),
    "models.handover.TAKE_BACK": Try(
        [{"active": [GRANT]}, {"active": []}], prepare=_columns(reason=PauseReason.HANDED_OVER)
    ),
    "models.waking.WAKE_FAILING": Try(
        variants=[{"most": 10}], prepare=lambda scene: scene.set(failures=1, due_at=NOW + timedelta(hours=1))
    ),
    "models.operator_actions.SET_STATUS": Try(
        [{"before": "active", "after": "paused"}, {"before": "paused", "after": "active"}]
    ),
    "models.sealing.reseal.Place": Try([{"read": [b"\x01"], "fresh": [b"\x09"]}], call=RESEAL),
    "models.erasure.FORGET_FINGERPRINTS": Try([{"kept": timedelta(0)}], prepare=_erased),
    "tasks.upkeep.SHRED_DEAD": Try([{"kept": DAY}], prepare=_columns(last_error_at=NOW - 2 * DAY)),
    "models.set_back.STATEMENTS[grants]": Try([{"at": NOW - DAY, "by": LEASE}]),
    "models.set_back.STATEMENTS[revocations]": Try([{"at": NOW - DAY, "by": LEASE}]),
    "evergrant.request_revocation": Try(call=ASK),
}
# An import says of its rows what they shall be before the statement is there.
IMPORTS = {
    "models.bulk_import.MAKE": [Try(prepare=_incoming(to, MADE)) for to in (GrantStatus.ACTIVE, GrantStatus.PAUSED)],
    "models.bulk_import.OVERWRITE": [
        Try(prepare=_incoming(to, GRANT)) for to in (GrantStatus.ACTIVE, GrantStatus.PAUSED)
    ],
}
BY_NAME = {each.name: each for each in statements.every()}


@pytest.fixture(scope="module")
def engine(databases: Databases) -> Iterator[Engine]:
    with databases.lent() as url:
        made = models_database.connect(url)
        yield made
        made.dispose()


def _scene(connection: Connection, table: str, status: Status | None, *, revoked: bool) -> Scene:
    """A grant in that status, with the revocation that belongs to it; or one whose revocation is in that status."""
    installation.adopt(connection, installation.observed(connection, "test"), who="tests")
    client_id = connection.execute(CLIENT, {"name": f"c-{uuid4()}"}).scalar_one()
    scene = Scene(connection, client_id, connection.execute(JOURNAL).scalar_one())
    grant, revocation = _both(table, status, revoked=revoked)
    if grant is not None:
        connection.execute(INSERT_GRANT, {"id": GRANT, "client_id": client_id, "status": grant})
    if revocation is None:
        return scene
    row = {"client_id": client_id, "grant_id": GRANT, "status": revocation}
    return Scene(connection, client_id, scene.journal_id, connection.execute(INSERT_REVOCATION, row).scalar_one())


def _both(table: str, status: Status | None, *, revoked: bool) -> tuple[Status | None, Status | None]:
    if table == "revocations":
        return GRANT_OF.get(status, GrantStatus.REVOKING), status
    asked = RevocationStatus.QUEUED if revoked and status is not None else None
    return status, REVOCATION_OF.get(status) or asked


def _parameters(scene: Scene, sql: TextClause, given: Mapping[str, Any]) -> dict[str, Any]:
    ours = {"client_id": scene.client_id, "journal_id": scene.journal_id, "revocation_id": scene.revocation_id}
    known = USUAL | ours | dict(given)
    if known["id"] == "journal_id":
        known["id"] = scene.journal_id
    return {name: known[name] for name in sql._bindparams}


def outcomes(engine: Engine, table: str, writer: Writer, status: Status | None) -> set[str | None]:
    """What becomes of a row in a status, with each set of parameters; None: it is left alone."""
    found: set[str | None] = set()
    for each in IMPORTS.get(writer.statement) or [TRIES.get(writer.statement, Try())]:
        for given in each.variants:
            with engine.connect() as connection:  # never committed
                scene = _scene(connection, table, status, revoked=each.revoked)
                if status is not None or table == "revocations" or writer.statement in IMPORTS:
                    each.prepare(scene)
                sql = each.call if each.call is not None else BY_NAME[writer.statement].clause
                assert sql is not None
                row = MADE if status is None and table == "grants" else GRANT
                before = scene.seen(table, row)
                connection.execute(sql, _parameters(scene, sql, given))
                after = scene.seen(table, row)
                found.add(None if after is None or after == before else after[1])
    return found


@pytest.mark.parametrize(("table", "writer"), LINES, ids=[f"{table}-{writer.statement}" for table, writer in LINES])
def test_a_statement_moves_rows_as_its_line_says_and_leaves_others_alone(
    engine: Engine, table: str, writer: Writer
) -> None:
    seen: set[tuple[Status | None, str]] = set()
    for status in GrantStatus if table == "grants" else RevocationStatus:
        found = outcomes(engine, table, writer, status)
        if status in writer.before:
            assert found - {None}, f"{status}: it changes nothing"
            seen |= {(status, after) for after in found if after not in (None, status)}
        else:
            assert writer.by_caller or found == {None}, f"a row that is {status} becomes {found}"
    if any(before is None for before, _ in writer.moves):
        seen |= {(None, after) for after in outcomes(engine, table, writer, None) if after is not None}

    assert seen == {*writer.moves}
