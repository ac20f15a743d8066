"""Grant accounts: whose account at the provider a grant is, sealed, where the provider tells it.

Asked when its user comes back: who signs in as somebody else by mistake must not take the grant's place. It stays with
the row of one consent, and goes when that is erased.
"""

from uuid import UUID

from sqlalchemy import Connection, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class GrantAccount(Base):
    """The account of one grant."""

    __tablename__ = "grant_accounts"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    sealed_account: Mapped[bytes]


KEEP = text("""
insert into evergrant.grant_accounts (id, sealed_account) values (:id, :sealed) on conflict do nothing
""")
OF = text("select sealed_account from evergrant.grant_accounts where id = :id")


def keep(connection: Connection, grant_id: UUID, sealed: bytes) -> None:
    """Remember whose account a grant is."""
    connection.execute(KEEP, {"id": grant_id, "sealed": sealed})


def of(connection: Connection, grant_id: UUID) -> bytes | None:
    """Whose account a grant is, sealed; None: nobody has told."""
    return connection.execute(OF, {"id": grant_id}).scalar()
