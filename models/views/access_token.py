"""Access token: what a reading application may see of a grant. Nothing here opens a seal."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

from models.predicates import IS_ENDING

# However much a reader asks for: a token that was just renewed must satisfy it.
LARGEST_SHARE = 3

Asked = tuple[str, str | None, bytes]
"""A ref, the client where one was named, and the hash of the key that asks."""


class ClosedKey(Enum):
    """Why a key opens nothing any more."""

    ENDED = auto()
    GONE = auto()  # it was taken away, or nobody ever had it


Found = list["TokenState"] | ClosedKey
"""One for each client that has the ref, unless the key that asks opens nothing."""


@dataclass(frozen=True, slots=True)
class TokenState:
    """A grant as a reading application sees it; the token is sealed and there only where it may be used."""

    id: UUID
    ref: str
    client: str
    labels: Mapping[str, Sequence[str]]
    status: str
    reason: str | None
    generation: int
    access_expires_at: datetime | None
    left: timedelta | None
    life: timedelta | None
    last_error_code: str | None
    provider: str
    overrides: Mapping[str, Any]
    database_state: str
    client_paused: bool
    sealed_access_token: bytes | None = field(repr=False)

    def lasts(self, min_ttl: timedelta) -> bool:
        """Whether there is a token that lives at least `min_ttl`, or a third of its life where that is less."""
        if self.sealed_access_token is None or self.left is None:
            return False
        return self.left >= (min_ttl if self.life is None else min(min_ttl, self.life / LARGEST_SHARE))


COLUMNS = """
    t.grant_id as id, t.ref, t.client, t.labels, t.status, t.reason, t.generation, t.access_expires_at,
    t.access_expires_at - clock_timestamp() as left, t.life, g.last_error_code, c.provider, c.overrides,
    (select evergrant.database_state(cast(:environment as text))) as database_state,
    v.paused_by_operator as client_paused, t.sealed_access_token"""
TABLES = """
    join evergrant.grants g on g.id = t.grant_id
    join evergrant.clients c on c.id = g.client_id
    join evergrant.valves v on v.client_id = c.id"""

BY_ID = text(f"select {COLUMNS} from evergrant.access_tokens t {TABLES} where t.grant_id = :id")  # noqa: S608  # constants

# The live row of each ref, or its newest ended one, as evergrant.find_grant has it; and by the same snapshot whether
# the key that asks opens anything still (null: it has been taken away). One that the release before added stands with
# its application alone.
BY_REF = text(f"""
    select distinct on (q.n, c.id) q.n,
        coalesce((
            select coalesce(k.expires_at > clock_timestamp(), true) from evergrant.application_keys k
            where k.key_hash = q.key_hash
        ), (
            select true from evergrant.applications a
            where a.key_hash = q.key_hash
                and not exists (select from evergrant.application_keys k where k.application_id = a.id)
            limit 1
        )) as key_opens, {COLUMNS}
    from unnest(cast(:refs as text[]), cast(:clients as text[]), cast(:keys as bytea[]))
        with ordinality as q (ref, client, key_hash, n)
    join evergrant.access_tokens t on t.ref = q.ref and (q.client is null or t.client = q.client) {TABLES}
    order by q.n, c.id, {IS_ENDING}, g.created_at desc""")  # noqa: S608  # constants


def by_id(connection: Connection, grant_id: UUID) -> TokenState:
    """What may be seen of one grant."""
    return _state(connection.execute(BY_ID, {"id": grant_id, "environment": None}).mappings().one())


class ByRef:
    """What may be seen of each ref that is asked for: the statement as PostgreSQL numbers its parameters."""

    parameters: Sequence[str] = ("refs", "clients", "keys", "environment")

    def __init__(self, *, environment: str | None) -> None:
        self._environment = environment
        self.sql = str(BY_REF)
        for number, name in enumerate(self.parameters, start=1):
            self.sql = self.sql.replace(f":{name}", f"${number}")

    def values(self, asked: Sequence[Asked]) -> list[Any]:
        """The parameters."""
        return [*zip(*asked, strict=True), self._environment]

    def found(self, asked: Sequence[Asked], rows: Iterable[Sequence[Any]]) -> dict[Asked, Found]:
        """Each row to who asked for it; none: there is no such grant."""
        found: dict[Asked, Found] = {each: [] for each in asked}
        for n, key_opens, *row in rows:
            theirs = found[asked[n - 1]]
            if not key_opens:
                found[asked[n - 1]] = ClosedKey.GONE if key_opens is None else ClosedKey.ENDED
            elif isinstance(theirs, list):
                theirs.append(TokenState(*row))
        return found


def _state(row: RowMapping) -> TokenState:
    return TokenState(**{name: row[name] for name in TokenState.__slots__})
