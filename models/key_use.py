"""Which keys the sealed bytes in the database need: one look at every row, for people who ask."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.keys import VARIABLES
from models.vault import Vault

# Sealed bytes name their key: one byte of version, one of length, then the id (docs/reference/sealed-format.md).
# Nothing is left to name where a token was shredded: null, or no bytes at all.
_USED = """
select sealed.ring, encode(substring(sealed.bytes from 3 for get_byte(sealed.bytes, 1)), 'escape') as key_id,
    count(*) as rows
from (
    select s.ring, s.bytes from evergrant.grants g
    cross join lateral (values ('refresh', g.sealed_refresh_token), ('access', g.sealed_access_token)) s (ring, bytes)
    where g.status <> 'revoked' {of_grant}
    union all
    select s.ring, s.bytes from evergrant.former_tokens g
    cross join lateral (values ('refresh', g.sealed_refresh_token), ('access', g.sealed_access_token)) s (ring, bytes)
    where g.known_dead_at is null {of_former}
    {others}
) sealed (ring, bytes)
where case when length(sealed.bytes) > 1 then length(sealed.bytes) > 2 + get_byte(sealed.bytes, 1) else false end
group by 1, 2
order by 1, 2
"""
SECRETS = "union all select 'refresh', c.sealed_client_secret from evergrant.clients c"
USED = text(_USED.format(of_grant="", of_former="", others=SECRETS))
USED_BY_GRANT = text(_USED.format(of_grant="and g.id = :id", of_former="and g.grant_id = :id", others=""))


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

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return f"add the key {self.key_id} to {VARIABLES[self.ring]} here and on every machine that uses them"


def counts(connection: Connection) -> dict[tuple[str, str], int]:
    """How many sealed values need each key, by ring and id."""
    return {(row.ring, row.key_id): row.rows for row in connection.execute(USED)}


def missing(connection: Connection, vault: Vault) -> list[Missing]:
    """The keys that these rings lack; a ring that is not held at all is not expected to open anything."""
    return _lacking(vault, connection.execute(USED))


def missing_for(connection: Connection, vault: Vault, grant_id: UUID) -> list[Missing]:
    """The same for the tokens of one grant."""
    return _lacking(vault, connection.execute(USED_BY_GRANT, {"id": grant_id}))


def _lacking(vault: Vault, used: Iterable[Row[Any]]) -> list[Missing]:
    rings = {"refresh": vault.refresh, "access": vault.access}
    return [
        Missing(row.key_id, row.ring, row.rows)
        for row in used
        if (ring := rings[row.ring]) is not None and ring.get(row.key_id) is None
    ]
