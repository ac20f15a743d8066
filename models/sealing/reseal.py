"""Reseal: what an older key has sealed is sealed anew with the active one, so that the older key may be retired.

In batches, each a short transaction of its own. A value is replaced only where it is still the one that was read (every
sealing has a nonce of its own, so equal bytes mean the same generation); a row that somebody holds is left for the next
pass. What is done names the active key, so whoever begins anew goes on where another stopped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from models.sealing.keys import KeyMissing, SealBroken, label
from models.sealing.vault import VERSION, Vault

BATCH = 500


@dataclass(frozen=True, slots=True)
class Place:
    """A column with sealed values, and what they are bound to (docs/reference/sealed-format.md)."""

    table: str
    column: str
    ring: str
    purpose: str
    id_type: str = "bigint"
    bound_to: str = "grants"  # the table named in the seal
    row_id: str = "id"

    @property
    def read(self) -> str:
        """Values that another key has sealed."""
        return f"""
            select t.id, t.{self.row_id} as row_id, t.{self.column} as sealed from evergrant.{self.table} t
            where length(t.{self.column}) > 0
                and substring(t.{self.column} from 1 for length(cast(:active as bytea))) <> cast(:active as bytea)
                and (cast(:after as {self.id_type}) is null or t.id > cast(:after as {self.id_type}))
            order by t.id
            limit :most"""  # noqa: S608  # constants

    @property
    def write(self) -> str:
        """Replace those that are still what was read."""
        return f"""
            with held as (
                select id from evergrant.{self.table} where id = any (cast(:ids as {self.id_type}[]))
                order by id
                for no key update skip locked
            )
            update evergrant.{self.table} t set {self.column} = new.fresh
            from unnest(cast(:ids as {self.id_type}[]), cast(:read as bytea[]), cast(:fresh as bytea[]))
                as new (id, read, fresh)
            join held on held.id = new.id
            where t.id = new.id and t.{self.column} = new.read
            returning t.id"""  # noqa: S608  # constants


PLACES = (
    Place("grants", "sealed_refresh_token", "refresh", "refresh", id_type="uuid"),
    Place("grants", "sealed_access_token", "access", "access", id_type="uuid"),
    Place("former_tokens", "sealed_refresh_token", "refresh", "refresh", row_id="grant_id"),
    Place("former_tokens", "sealed_access_token", "access", "access", row_id="grant_id"),
    Place("grant_accounts", "sealed_account", "refresh", "account", id_type="uuid", bound_to="grant_accounts"),
    Place("clients", "sealed_client_secret", "refresh", "secret", bound_to="clients"),
    Place("clients", "sealed_former_secret", "refresh", "secret", bound_to="clients"),
    Place("webhooks", "sealed_secret", "refresh", "secret", bound_to="webhooks"),
    Place("webhooks", "sealed_former_secret", "refresh", "secret", bound_to="webhooks"),
)


@dataclass(frozen=True, slots=True)
class Pass:
    """What one batch did; `last`: the id to go on after, None where there is nothing more."""

    last: object
    sealed: int


def batch(connection: Connection, vault: Vault, place: Place, *, after: object = None) -> Pass:
    """Seal the next values of a place anew; one that does not open here stays as it is."""
    ring = vault.refresh if place.ring == "refresh" else vault.access
    if ring is None:
        return Pass(None, 0)
    active = VERSION + label(ring.active.key_id)
    rows = connection.execute(text(place.read), {"active": active, "after": after, "most": BATCH}).all()
    fresh = [(row.id, bytes(row.sealed), new) for row in rows if (new := _anew(vault, place, row)) is not None]
    done = connection.execute(text(place.write), _arrays(fresh)).all() if fresh else []
    return Pass(rows[-1].id if len(rows) == BATCH else None, len(done))


def _anew(vault: Vault, place: Place, row: Any) -> bytes | None:
    try:
        plain = vault.open(row.sealed, table=place.bound_to, row_id=row.row_id, purpose=place.purpose)
    except (KeyMissing, SealBroken):
        return None
    return vault.seal(plain, table=place.bound_to, row_id=row.row_id, purpose=place.purpose)


def _arrays(fresh: Sequence[tuple[object, bytes, bytes]]) -> dict[str, list[Any]]:
    return {name: list(values) for name, values in zip(("ids", "read", "fresh"), zip(*fresh, strict=True), strict=True)}
