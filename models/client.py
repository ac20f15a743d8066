"""Client: our registration at a provider; and the valve of everything that is sent there."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Double, ForeignKey, Integer
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, identity


class Client(Base):
    """Our registration at a provider (RFC 6749 §2), and what differs from the provider's file."""

    __tablename__ = "clients"

    id: Mapped[int] = identity()
    name: Mapped[str] = mapped_column(unique=True)
    provider: Mapped[str]
    overrides: Mapped[dict[str, Any]]
    client_id: Mapped[str]
    sealed_client_secret: Mapped[bytes | None]
    credentials_no: Mapped[int] = mapped_column(Integer)
    redirect_uri: Mapped[str | None]
    scopes: Mapped[list[str]]
    return_to: Mapped[str | None]
    keep: Mapped[str]
    rotation: Mapped[str]
    rate_per_minute: Mapped[float | None] = mapped_column(Double)
    burst: Mapped[int] = mapped_column(Integer)
    attempt_lease: Mapped[timedelta]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Valve(Base):
    """What may be sent now: rate, pauses and the breaker's memory (one row a client)."""

    __tablename__ = "valves"

    client_id: Mapped[int] = mapped_column(ForeignKey("evergrant.clients.id"), primary_key=True)
    next_slot_at: Mapped[datetime]
    slot_no: Mapped[int]
    paused_by_operator: Mapped[bool]
    paused_until: Mapped[datetime | None]
    pause_reason: Mapped[str | None]
    pause_seconds: Mapped[float] = mapped_column(Double)
    changed_at: Mapped[datetime | None]
    canary_grant_id: Mapped[UUID | None]
    strikes: Mapped[int] = mapped_column(Integer)
    strike_grant_id: Mapped[UUID | None]
    minute_at: Mapped[datetime | None]
    minute_asked: Mapped[int] = mapped_column(Integer)
    minute_bad: Mapped[int] = mapped_column(Integer)
    credentials_proven_no: Mapped[int | None] = mapped_column(Integer)
    deaths_held_at: Mapped[datetime | None]
    deaths_accepted_at: Mapped[datetime | None]
