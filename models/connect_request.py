"""Connect requests: state and PKCE of a code flow that was begun and not yet ended."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class ConnectRequest(Base):
    """One trip of a user to the provider, for one ref (RFC 6749 §4.1)."""

    __tablename__ = "connect_requests"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    client_id: Mapped[int] = mapped_column(ForeignKey("evergrant.clients.id"))
    ref: Mapped[str]
    state_hash: Mapped[bytes] = mapped_column(unique=True)
    sealed_verifier: Mapped[bytes]
    redirect_uri: Mapped[str]
    scopes: Mapped[list[str]]
    labels: Mapped[dict[str, list[str]]]
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
