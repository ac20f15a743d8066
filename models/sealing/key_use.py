"""Which keys the sealed bytes in the database need: one look at every row, for people who ask."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, TextClause, text

from models.sealing.keys import label, variable_of
from models.sealing.vault import VERSION, Vault

# Sealed bytes name their key: one byte of version, one of length, then the id (docs/reference/sealed-format.md).
# Nothing is left to name where a token was shredded: null, or no bytes at all.
_HEAD = """case when length({0}) > 1 then
        case when length({0}) > 2 + get_byte({0}, 1) then substring({0} from 1 for 2 + get_byte({0}, 1)) end
    end"""
# Rows are counted by both heads at once: a million of them name two keys, or four while keys are changed. Reading an id
# out of each of two million tokens was measured at six times the CPU.
_USED = """
select sealed.ring, encode(substring(sealed.head from 3), 'escape') as key_id, cast(sum(sealed.rows) as bigint) as rows
from (
    select s.ring, s.head, g.rows from (
        select {refresh} as refresh, {access} as access, count(*) as rows
        from evergrant.grants g where g.status <> 'revoked' {of_grant} group by 1, 2
        union all
        select {refresh}, {access}, count(*)
        from evergrant.former_tokens g where g.known_dead_at is null {of_former} group by 1, 2
    ) g
    cross join lateral (values ('refresh', g.refresh), ('access', g.access)) s (ring, head)
    {others}
) sealed (ring, head, rows)
where sealed.head is not null
group by 1, 2
order by 1, 2
"""
_SECRETS = " ".join(
    f"union all select 'refresh', {_HEAD.format(column)}, 1 from evergrant.{table} c"  # noqa: S608  # constants
    for table, column in (
        ("clients", "c.sealed_client_secret"),
        ("clients", "c.sealed_former_secret"),
        ("webhooks", "c.sealed_secret"),
        ("webhooks", "c.sealed_former_secret"),
        ("grant_accounts", "c.sealed_account"),
    )
)


def _used(**where: str) -> TextClause:
    heads = {"refresh": _HEAD.format("g.sealed_refresh_token"), "access": _HEAD.format("g.sealed_access_token")}
    return text(_USED.format(**heads, **where))


USED = _used(of_grant="", of_former="", others=_SECRETS)
USED_BY_GRANT = _used(of_grant="and g.id = :id", of_former="and g.grant_id = :id", others="")

Rings = Mapping[str, Sequence[str] | None]
"""The ids of the keys of each ring; None: a ring that is not held, and not expected to open anything."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A key that rows are sealed with and that a ring lacks."""

    key_id: str
    ring: str
    rows: int

    @property
    def what(self) -> str:
        """What is wrong."""
        values = "1 sealed value needs" if self.rows == 1 else f"{self.rows} sealed values need"
        return f"{values} the key {self.key_id}, which the {self.ring} key ring here lacks"

    def lacked_by(self, process: str) -> tuple[str, str]:
        """The same of another process, and what to do there."""
        need = "1 sealed value needs" if self.rows == 1 else f"{self.rows} sealed values need"
        what = f"it lacks the key {self.key_id} of the {self.ring} key ring, which {need}"
        return what, f"add the key {self.key_id} to {variable_of(self.ring)} of {process}, and start it again"

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return f"add the key {self.key_id} to {variable_of(self.ring)} here and on every machine that uses them"


def counts(connection: Connection) -> dict[tuple[str, str], int]:
    """How many sealed values need each key, by ring and id."""
    return {(row.ring, row.key_id): row.rows for row in connection.execute(USED)}


def missing(connection: Connection, vault: Vault) -> list[Missing]:
    """The keys that these rings lack; a ring that is not held at all is not expected to open anything."""
    return _lacking(ids_of(vault), connection.execute(USED))


def missing_now(connection: Connection, vault: Vault) -> list[Missing]:
    """The same for what refreshes need: clients' secrets, and the tokens that grants hold, without former ones."""
    return lacking_now(connection, ids_of(vault))


def lacking_now(connection: Connection, rings: Rings) -> list[Missing]:
    """The same, for rings of which only the ids are known, as those of another process.

    Which keys all tokens name is only asked where some name one that is not held: in less than half of the time.
    """
    tests: list[str] = []
    heads: dict[str, bytes] = {}
    for name, ids in rings.items():
        held = {f"{name}_{n}": VERSION + label(each) for n, each in enumerate(ids or ())}
        column = f"g.sealed_{name}_token"
        lacks = [f"substring({column} from 1 for {len(head)}) <> :{value}" for value, head in held.items()]
        tests.append("false" if ids is None else " and ".join(lacks) or f"{column} is not null")
        heads |= held
    lacking = f"select count(*) from evergrant.grants g where g.status <> 'revoked' and ({' or '.join(tests)})"  # noqa: S608
    of_grant = "" if connection.execute(text(lacking), heads).scalar_one() else "and false"
    return _lacking(rings, connection.execute(_used(of_grant=of_grant, of_former="and false", others=_SECRETS)))


def missing_for(connection: Connection, vault: Vault, grant_id: UUID) -> list[Missing]:
    """The same for the tokens of one grant."""
    return _lacking(ids_of(vault), connection.execute(USED_BY_GRANT, {"id": grant_id}))


def ids_of(vault: Vault) -> Rings:
    """The ids of what a vault holds."""
    rings = {"refresh": vault.refresh, "access": vault.access}
    return {name: None if ring is None else ring.ids for name, ring in rings.items()}


def _lacking(rings: Rings, used: Iterable[Row[Any]]) -> list[Missing]:
    return [
        Missing(row.key_id, row.ring, row.rows)
        for row in used
        if (ids := rings[row.ring]) is not None and row.key_id not in ids
    ]
