"""The harness: a real database and a real runtime, beat and worker as function calls.

Answers are made by the test, as a provider would give them; time goes by moving every timestamp of the database
into the past, so the real clock and the real statements are what is tried.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, RowMapping, text

import settings
from models import attempt as attempts
from models import claim as claims
from models import operator_actions
from models.claim import Job
from models.consent import NewGrant, insert
from models.database import transaction
from tasks import refresh
from tasks.claim import Claimed, claim
from tasks.oauth.answer import Answer, HeldBack, NotSent, Response, Silence
from tasks.runtime import clock, registration
from tasks.runtime.attempt import Arrived, Attempt
from tasks.runtime.runtime import Runtime
from tasks.settling import settle

LEASE = timedelta(seconds=30)
LIFE = timedelta(hours=2)
INVALID_GRANT = Response(400, {}, b'{"error": "invalid_grant"}')
INVALID_CLIENT = Response(401, {}, b'{"error": "invalid_client"}')
GATEWAY = Response(502, {}, b"<html>bad gateway</html>")
BUSY = Response(503, {}, b"")
TOO_MANY = Response(429, {"retry-after": "7"}, b"")
LOST = Silence("timeout")
UNREACHABLE = NotSent("connect_refused")
HELD_BACK = HeldBack("process_is_stopping")

_TIMES = text("""
select table_name, column_name from information_schema.columns
where table_schema = 'evergrant' and data_type = 'timestamp with time zone'
    and table_name in ('grants', 'valves', 'witnesses', 'journals', 'former_tokens', 'refresh_requests', 'revocations',
        'erasures', 'dead_letters', 'events', 'held_revocations', 'revocation_asks',
        'asked_labels', 'webhooks', 'webhook_deliveries')
    and has_table_privilege(format('evergrant.%I', table_name), 'update')  -- a worker's login changes no event
""")


def token_set(name: str, **members: Any) -> Response:
    """A provider's 200: refresh token `rt-name`, access token `at-name`."""
    body = {"access_token": f"at-{name}", "refresh_token": f"rt-{name}", "expires_in": 7200, "token_type": "Bearer"}
    kept = {member: value for member, value in {**body, **members}.items() if value is not ...}
    return Response(200, {}, json.dumps(kept).encode())


@dataclass
class Harness:
    """A fleet with one process."""

    runtime: Runtime

    # What there is

    def client(
        self, name: str = "demo", *, rotation: str = "on_use", rate: float | None = None, burst: int = 2000, **more: Any
    ) -> int:
        """Register a client of the simulator; `more` are overrides of its provider file."""
        overrides: dict[str, Any] = {"rotation": rotation, "confirm_url": None, "deadline_seconds": None}
        overrides |= {"rate": rate, "burst": burst, **more}
        if rotation == "grace":
            overrides.setdefault("grace_seconds", 40)
        provider = registration.resolve("simulator", overrides, self.runtime.settings)
        times = registration.times_of(provider, self.settings)
        made = operator_actions.Registration(
            provider="simulator",
            overrides=overrides,
            client_id="app",
            redirect_uri=None,
            scopes=[],
            return_to=None,
            keep="warm",
            rotation=rotation,
            rate_per_minute=rate,
            burst=burst,
            attempt_lease=times.lease,
            grace=provider.grace,
            grant_interval=provider.grant_interval or None,
        )
        with transaction() as connection:
            client_id = operator_actions.add_client(connection, name, made, who="tests")
            secret = self.runtime.vault.seal("s3cret", table="clients", row_id=client_id, purpose="secret")
            operator_actions.set_client_secret(connection, client_id, secret, who="tests")
        return client_id

    def grant(
        self,
        client_id: int,
        ref: str = "customer",
        *,
        token: str | None = None,
        due_in: timedelta = timedelta(0),
        life: timedelta | None = LIFE,
        access_left: timedelta | None = timedelta(minutes=40),
        pair: Mapping[str, Any] | None = None,
        labels: dict[str, list[str]] | None = None,
        **more: Any,
    ) -> UUID:
        """Make a grant that was refreshed once, due now; `pair`: as the simulator mints it; `more` are columns."""
        at, name = clock.wall(), token or f"{ref}-1"
        row = replace(
            self.new_grant(uuid4(), name, pair=pair),
            ref=ref,
            labels=labels or {},
            access_expires_at=None if access_left is None else at + access_left,
            life=life,
            due_at=at + due_in,
        )
        with transaction() as connection:
            assert insert(connection, client_id, [row]) == {row.id}
        if more:
            self.set(row.id, **more)
        return row.id

    def new_grant(self, grant_id: UUID, name: str, *, pair: Mapping[str, Any] | None = None) -> NewGrant:
        """A row to be made, with the pair `rt-name` and `at-name`, refreshed 80 minutes ago and due now."""
        at, seal = clock.wall(), self.runtime.vault.seal
        refresh_token, access_token = f"rt-{name}", f"at-{name}"
        if pair is not None:
            refresh_token, access_token = pair["refresh_token"], pair["access_token"]
        return NewGrant(
            id=grant_id,
            ref="customer",
            status="active",
            generation=1,
            labels={},
            keep=None,
            scope="crm_read",
            sealed_refresh_token=seal(refresh_token, table="grants", row_id=grant_id, purpose="refresh"),
            sealed_access_token=seal(access_token, table="grants", row_id=grant_id, purpose="access"),
            refresh_fingerprint=self.runtime.vault.fingerprint(refresh_token),
            access_expires_at=at + timedelta(minutes=40),
            life=LIFE,
            due_at=at,
            refreshed_at=at - timedelta(minutes=80),
            credentials_no=1,
        )

    def grants(self, client_id: int, count: int, **more: Any) -> list[UUID]:
        """Make several, refs `customer-0` and on, in the order in which they are due."""
        return [
            self.grant(client_id, f"customer-{n}", due_in=timedelta(milliseconds=n - count), **more)
            for n in range(count)
        ]

    def former(self, grant_id: UUID, name: str, *, kind: str = "predecessor", generation: int = 0) -> None:
        """Keep another pair of a grant."""
        seal = self.runtime.vault.seal
        self.run(
            """insert into evergrant.former_tokens (grant_id, kind, generation, sealed_refresh_token,
                sealed_access_token, refresh_fingerprint, access_expires_at)
            values (:id, :kind, :generation, :refresh, :access, :fingerprint, clock_timestamp() + interval '1 h')""",
            id=grant_id,
            kind=kind,
            generation=generation,
            refresh=seal(f"rt-{name}", table="grants", row_id=grant_id, purpose="refresh"),
            access=seal(f"at-{name}", table="grants", row_id=grant_id, purpose="access"),
            fingerprint=self.runtime.vault.fingerprint(f"rt-{name}"),
        )

    # Beat and worker

    @property
    def settings(self) -> settings.Settings:
        return self.runtime.settings

    def claim(self, client_id: int, *, most: int = 500) -> Claimed:
        """One look of beat at one client."""
        with transaction() as connection:
            return claim(connection, client_id, lease=LEASE, most=most)

    def looks_at(self) -> list[int]:
        """The clients that beat would look at."""
        with transaction() as connection:
            return claims.clients_to_look_at(connection)

    def start(self, jobs: Sequence[Job], *, status: str = "active") -> list[Attempt]:
        """Start jobs as a worker does with a message."""
        return refresh.start(self.runtime, jobs, status=status)

    def release(self, job: Job, *, wait: timedelta = timedelta(seconds=1)) -> None:
        """Give a claim back, as beat does where the broker is away."""
        with transaction() as connection:
            attempts.release(connection, [(*job, wait)])

    def begin(self, client_id: int) -> Attempt:
        """Claim and start the one job that is due."""
        claimed = self.claim(client_id)
        (attempt,) = self.start([*claimed.due, *claimed.requested])
        return attempt

    def settle(self, *ended: tuple[Attempt, Answer]) -> None:
        """Settle attempts with their answers, as one group."""
        settle.settle(self.runtime, [Arrived(attempt, answer, clock.wall()) for attempt, answer in ended])

    def ask(self, client_id: int, answer: Answer) -> Attempt:
        """Claim, start and settle the one job that is due."""
        attempt = self.begin(client_id)
        self.settle((attempt, answer))
        return attempt

    def sent(self, attempt: Attempt) -> str:
        """The refresh token that an attempt presents."""
        assert attempt.job.sealed_refresh_token is not None
        return self.open(attempt.job.grant_id, attempt.job.sealed_refresh_token)

    # What is

    def row(self, grant_id: UUID) -> RowMapping:
        return self.one("select * from evergrant.grants where id = :id", id=grant_id)

    def valve(self, client_id: int) -> RowMapping:
        return self.one("select * from evergrant.valves where client_id = :id", id=client_id)

    def token(self, grant_id: UUID) -> str:
        """The refresh token that the row holds."""
        return self.open(grant_id, self.row(grant_id)["sealed_refresh_token"])

    def open(self, grant_id: UUID, sealed: bytes) -> str:
        return self.runtime.vault.open(sealed, table="grants", row_id=grant_id, purpose="refresh")

    def formers(self, grant_id: UUID) -> dict[str, str]:
        """Refresh token → kind of every former pair, the oldest first."""
        rows = self.all("select * from evergrant.former_tokens where grant_id = :id order by id", id=grant_id)
        return {self.open(grant_id, row["sealed_refresh_token"]): row["kind"] for row in rows}

    def letters(self, grant_id: UUID, *, open_only: bool = True) -> list[str]:
        """Causes of a grant's dead letters."""
        query = "select cause, resolved_at from evergrant.dead_letters where grant_id = :id order by id"
        rows = self.all(query, id=grant_id)
        return [row["cause"] for row in rows if row["resolved_at"] is None or not open_only]

    def events(self, **where: Any) -> list[str]:
        """Types of the events, of one grant or client."""
        condition = " and ".join(f"{name} = :{name}" for name in where) or "true"
        query = f"select type from evergrant.events where {condition} order by id"  # noqa: S608
        return [row["type"] for row in self.all(query, **where)]

    # Hands on the database

    def set(self, grant_id: UUID, **columns: Any) -> None:
        """Change columns of a grant behind everybody's back."""
        changes = ", ".join(f"{name} = :{name}" for name in columns)
        query = f"update evergrant.grants set {changes} where id = :grant_id"  # noqa: S608
        self.run(query, grant_id=grant_id, **columns)

    def later(self, **by: float) -> None:
        """Let time go by: everything that the database and this process remember is that much longer ago."""
        delta = timedelta(**by)
        with transaction() as connection:
            columns: dict[str, list[str]] = {}
            for table, column in connection.execute(_TIMES):
                columns.setdefault(table, []).append(f"{column} = {column} - cast(:delta as interval)")
            for table, changes in columns.items():
                query = f"update evergrant.{table} set {', '.join(changes)}"  # noqa: S608
                connection.execute(text(query), {"delta": delta})
        shut = self.runtime.admission._shut
        self.runtime.admission._shut = {client_id: until - delta for client_id, until in shut.items()}

    def until_due(self, grant_id: UUID) -> None:
        """Let time go by until a grant is due."""
        wait = self.row(grant_id)["due_at"] - clock.wall()
        self.later(seconds=max(wait.total_seconds(), 0) + 0.01)

    def run(self, statement: str, **parameters: Any) -> None:
        with transaction() as connection:
            connection.execute(text(statement), parameters)

    def one(self, query: str, **parameters: Any) -> RowMapping:
        with transaction() as connection:
            return connection.execute(text(query), parameters).mappings().one()

    def all(self, query: str, **parameters: Any) -> Sequence[RowMapping]:
        with transaction() as connection:
            return connection.execute(text(query), parameters).mappings().all()

    def picture(self, *grant_ids: UUID) -> list[tuple[Any, ...]]:
        """All that grants, their former tokens, letters and events say: equal pictures mean that nothing changed."""
        with transaction() as connection:
            return [row for grant_id in grant_ids for row in _rows_of(connection, grant_id)]


def _rows_of(connection: Connection, grant_id: UUID) -> Iterable[tuple[Any, ...]]:
    for table, key in (
        ("grants", "id"),
        ("former_tokens", "grant_id"),
        ("dead_letters", "grant_id"),
        ("revocations", "grant_id"),
        ("events", "grant_id"),
    ):
        query = f"select * from evergrant.{table} t where t.{key} = :id order by t.id"  # noqa: S608
        yield from (tuple(row) for row in connection.execute(text(query), {"id": grant_id}))


def message(jobs: Iterable[Job]) -> list[list[Any]]:
    """Jobs as a message carries them."""
    return [[str(grant_id), claim_no] for grant_id, claim_no in jobs]
