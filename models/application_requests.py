"""Application requests: through the SQL functions that any application may call (docs/reference/sql.md)."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from models import held_revocation

# By SQLSTATE: what the functions say of a ref or a key that they cannot use.
UNKNOWN_REF, AMBIGUOUS_REF, KEY_TAKEN = "P0002", "P0003", "22023"


class NotAsked(Exception):
    """The function refused; `state` is its SQLSTATE."""

    def __init__(self, state: str) -> None:
        super().__init__(state)
        self.state = state


@dataclass(frozen=True, slots=True)
class RequestedRefresh:
    """An early refresh that an application asks for; `rejected`: the generation whose access token was refused."""

    application: str
    ref: str
    client: str
    rejected: int | None


@dataclass(frozen=True, slots=True)
class Ending:
    """A revocation that an application wants."""

    ref: str
    client: str | None
    reason: str | None
    idempotency_key: str | None
    missing_ok: bool
    erase: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """A revocation that was asked for: its id, None for an unknown ref with `missing_ok`; `held`: by a limit."""

    id: int | None
    held: bool = False


# For the rest of this transaction; evergrant.asker() puts it after the session's own user.
NAME_APPLICATION = text("select set_config('evergrant.application', :application, true)")

REFRESH = text("""
select w.n, evergrant.request_refresh(ref => w.ref, client => w.client, if_generation => w.generation)
from unnest(cast(:refs as text[]), cast(:clients as text[]), cast(:generations as bigint[]))
    with ordinality as w (ref, client, generation, n)
where exists (select from evergrant.access_tokens t where t.ref = w.ref and t.client = w.client)
order by n
""")

REVOKE = text("""
select evergrant.request_revocation(ref => :ref, client => :client, reason => :reason,
    idempotency_key => :idempotency_key, missing_ok => :missing_ok, erase => :erase)
""")


def refreshes(connection: Connection, asked: Sequence[RequestedRefresh]) -> dict[RequestedRefresh, int | None]:
    """Ask for early refreshes; returns the generation to wait for, None where the grant is gone."""
    awaited: dict[RequestedRefresh, int | None] = dict.fromkeys(asked)
    for application in sorted({each.application for each in asked}):
        theirs = [each for each in asked if each.application == application]
        connection.execute(NAME_APPLICATION, {"application": application})
        wanted = {
            "refs": [each.ref for each in theirs],
            "clients": [each.client for each in theirs],
            "generations": [each.rejected for each in theirs],
        }
        for n, generation in connection.execute(REFRESH, wanted):
            awaited[theirs[n - 1]] = generation
    return awaited


def revocation(connection: Connection, ending: Ending, *, application: str) -> Asked:
    """Ask for a grant to be killed.

    Raises:
        NotAsked: the ref is unknown or ambiguous, or the idempotency key belongs to another ref.

    """
    connection.execute(NAME_APPLICATION, {"application": application})
    wanted = {name: getattr(ending, name) for name in Ending.__slots__}
    try:
        found: int | None = connection.execute(REVOKE, wanted).scalar()
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None)
        if state in (UNKNOWN_REF, AMBIGUOUS_REF, KEY_TAKEN):
            raise NotAsked(state) from None
        raise
    return Asked(found, held=found is not None and held_revocation.is_held(connection, found))
