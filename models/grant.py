"""Grant: one consent of one user, the row that is kept alive."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class Grant(Base):
    """One consent: the token set it holds, its generation, and when work on it is due."""

    __tablename__ = "grants"
    __table_args__ = (
        Index(
            "uq_grants_client_id_ref",
            "client_id",
            "ref",
            unique=True,
            postgresql_where=text("status not in ('revoking', 'revoked')"),
        ),
        Index("ix_grants_due", "client_id", "due_at", postgresql_where=text("status = 'active'")),
        Index(
            "ix_grants_under_way",
            "client_id",
            "due_at",
            postgresql_where=text("claimed_at is not null or started_at is not null"),
        ),
        Index(
            "ix_grants_failing",
            "client_id",
            "due_at",
            postgresql_where=text("status = 'active' and failures > 0"),
        ),
        Index(
            "ix_grants_suspects",
            "client_id",
            postgresql_where=text("status = 'active' and suspect_at is not null"),
        ),
        Index(
            "ix_grants_in_doubt",
            "client_id",
            "due_at",
            postgresql_where=text("status = 'active' and doubt_since is not null"),
        ),
        Index(
            "ix_grants_doubt_journals",
            "doubt_journals",
            postgresql_using="gin",
            postgresql_where=text("doubt_since is not null"),
        ),
        Index(None, "ref"),
        Index(None, "refresh_fingerprint"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    client_id: Mapped[int] = mapped_column(ForeignKey("evergrant.clients.id"))
    ref: Mapped[str]
    status: Mapped[str]
    reason: Mapped[str | None]
    generation: Mapped[int]
    labels: Mapped[dict[str, list[str]]]
    keep: Mapped[str | None]
    scope: Mapped[str | None]
    sealed_refresh_token: Mapped[bytes | None]
    sealed_access_token: Mapped[bytes | None]
    refresh_fingerprint: Mapped[bytes | None]
    access_expires_at: Mapped[datetime | None]
    older_access_ends_at: Mapped[datetime | None]
    life: Mapped[timedelta | None]
    due_at: Mapped[datetime]
    claim_no: Mapped[int]
    claimed_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    journal_id: Mapped[int | None]
    doubt_since: Mapped[datetime | None]
    doubt_journals: Mapped[list[int]]
    doubt_repeated: Mapped[bool]
    ever_in_doubt: Mapped[bool]
    predecessors_dropped: Mapped[bool]
    suspect_at: Mapped[datetime | None]
    failures: Mapped[int] = mapped_column(Integer)
    attempts: Mapped[int] = mapped_column(Integer)
    failing_since: Mapped[datetime | None]
    failing_for: Mapped[timedelta]
    refusals: Mapped[int] = mapped_column(Integer)
    refused_since: Mapped[datetime | None]
    refused_code: Mapped[str | None]
    last_error_code: Mapped[str | None]
    last_error_http_status: Mapped[int | None] = mapped_column(Integer)
    last_error_at: Mapped[datetime | None]
    asked_at: Mapped[datetime | None]
    rejected_at: Mapped[datetime | None]
    refreshed_at: Mapped[datetime | None]
    refreshed_credentials_no: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[datetime]
