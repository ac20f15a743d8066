"""The job that most teams write, as well as a competent team writes it in a day. It is no part of Evergrant.

Celery beat scans a table every so often and queues a task for each token that expires soon; the task takes the row's
lock, asks the provider, and stores the answer. `evergrant demo` runs it beside Evergrant for comparison.

It stands in the package, and not in bench/, because the demo must work from an installed wheel, which holds no bench/;
bench/naive/ measures this very file. It imports nothing of ours, and nothing of ours imports it: it is run as
`python -m worker.demo.naive worker | beat | load FILE | revoke REF…`, with its settings in the environment.
"""

import json
import logging
import os
import sys
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from celery import Celery
from sqlalchemy import DateTime, create_engine, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

PROVIDER = os.environ["NAIVE_PROVIDER_URL"]
CLIENT = {"client_id": os.environ["NAIVE_CLIENT_ID"], "client_secret": os.environ["NAIVE_CLIENT_SECRET"]}
SCAN_SECONDS = float(os.environ.get("NAIVE_SCAN_SECONDS", "60"))
MARGIN = timedelta(seconds=float(os.environ.get("NAIVE_MARGIN_SECONDS", "600")))
ROW_LOCK = os.environ.get("NAIVE_ROW_LOCK", "1") == "1"  # many teams have none, and more trouble
POOL_SIZE = int(os.environ.get("NAIVE_POOL_SIZE", "10"))  # a task holds its connection while the provider is asked
TIMEOUT_SECONDS = 10

log = logging.getLogger(__name__)
engine = create_engine(os.environ["NAIVE_DATABASE_URL"], pool_pre_ping=True, pool_size=POOL_SIZE)
app = Celery("naive", broker=os.environ["NAIVE_BROKER_URL"])
app.conf.task_acks_late = True
app.conf.worker_prefetch_multiplier = 1
app.conf.broker_connection_retry_on_startup = True
app.conf.beat_schedule = {
    "scan": {"task": "naive.scan", "schedule": SCAN_SECONDS, "options": {"expires": SCAN_SECONDS}}
}


class Base(DeclarativeBase):
    """The job's tables."""


class Token(Base):
    """A customer's tokens."""

    __tablename__ = "tokens"
    __table_args__ = {"schema": "naive"}  # noqa: RUF012  # SQLAlchemy's own way

    ref: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[str]  # active, paused, dead, revoked
    access_token: Mapped[str | None]
    refresh_token: Mapped[str | None]
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class InvalidGrant(Exception):
    """The provider says that the refresh token is no good: the user must connect again (RFC 6749 §5.2)."""


@app.task(name="naive.scan")
def scan() -> None:
    """Queue a refresh for every token that expires soon."""
    with Session(engine) as session:
        soon = Token.expires_at < datetime.now(UTC) + MARGIN
        for ref in session.scalars(select(Token.ref).where(Token.status == "active", soon)):
            refresh.delay(ref)


@app.task(name="naive.refresh")
def refresh(ref: str) -> None:
    """Refresh one token, unless another task is at it or has done it; what fails is tried again by the next scan."""
    with Session(engine) as session, session.begin():
        query = select(Token).where(Token.ref == ref)
        token = session.scalars(query.with_for_update(skip_locked=True) if ROW_LOCK else query).one_or_none()
        if token is None or token.status != "active" or token.expires_at > datetime.now(UTC) + MARGIN:
            return
        try:
            answer = post("/oauth/token", grant_type="refresh_token", refresh_token=token.refresh_token)
        except InvalidGrant:
            log.exception("%s is dead", ref)
            token.status = "dead"
        except Exception:
            log.exception("%s could not be refreshed", ref)
        else:
            token.access_token = answer["access_token"]
            token.refresh_token = answer.get("refresh_token", token.refresh_token)
            token.expires_at = datetime.now(UTC) + timedelta(seconds=answer["expires_in"])


@app.task(name="naive.revoke", autoretry_for=(OSError,), retry_backoff=True, max_retries=5)
def revoke(ref: str) -> None:
    """Revoke a customer's tokens at the provider (RFC 7009) and forget them."""
    with Session(engine) as session, session.begin():
        token = session.get_one(Token, ref, with_for_update=True)
        post("/oauth/revoke", token=token.refresh_token, token_type_hint="refresh_token")  # noqa: S106
        token.status, token.access_token, token.refresh_token = "revoked", None, None


def post(path: str, **members: str | None) -> dict[str, Any]:
    """Send a request; most teams use `requests` here, which would be one more package for the demo."""
    body = json.dumps({**CLIENT, **members}).encode()
    request = Request(PROVIDER + path, body, {"Content-Type": "application/json"})  # noqa: S310  # our provider
    try:
        with urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310
            answer: dict[str, Any] = json.load(response)
            return answer
    except HTTPError as error:
        if error.code == HTTPStatus.BAD_REQUEST and json.load(error).get("error") == "invalid_grant":
            raise InvalidGrant from error
        raise


def load(file: Path) -> None:
    """Make the table and fill it from JSON Lines, as `evergrant grants import` reads them, with a status each."""
    with engine.begin() as connection:
        connection.execute(text("create schema if not exists naive"))
        Base.metadata.create_all(connection)
    with Session(engine) as session, session.begin():
        for row in map(json.loads, file.read_text(encoding="utf-8").splitlines()):
            expires_at = datetime.fromtimestamp(row["created_at"] + row["expires_in"], UTC)
            members = {name: row[name] for name in ("ref", "status", "access_token", "refresh_token")}
            session.add(Token(**members, expires_at=expires_at))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["load", file]:
            load(Path(file))
        case ["revoke", *refs]:
            for ref in refs:
                revoke.delay(ref)
        case celery:
            app.start(celery)
