"""Drift: what a group of answers has shown against the profiles of its clients is kept, told, and acted on."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

import structlog
from sqlalchemy import Connection

from models import drift as rows
from models import event
from models.drift import DriftingClient, Tightened
from models.locked_grant import LockedGrant
from models.states.event import EventType
from settings import Settings
from tasks.oauth.errors import OAuthError
from tasks.oauth.provider import Provider
from tasks.oauth.rotation import Rotation
from tasks.oauth.shapes import Kind
from tasks.oauth.token_answer import TokenSet
from tasks.policy import drift
from tasks.policy.drift import Answered, Finding, Habit, Others, Sighting, Watch
from tasks.runtime.attempt import Asked
from tasks.runtime.registration import resolve, times_of

log = structlog.get_logger()


def heed(connection: Connection, settings: Settings, seen: Mapping[int, Sequence[Sighting]]) -> None:
    """Act on what was seen, by client, in the transaction that settles it and before any valve is locked."""
    for client_id in sorted(seen):
        client = rows.lock(connection, client_id)
        if client is not None:
            _heed(connection, settings, client, seen[client_id])


def _heed(connection: Connection, settings: Settings, client: DriftingClient, seen: Sequence[Sighting]) -> None:
    before, rotation = Watch.of(client.drift_watch), Rotation(client.rotation)
    watch, found = drift.gather(before, seen, rotation)
    if len(watch.killed) >= drift.IN_A_ROW and watch.killed != before.killed:
        died, refreshed = rows.others(connection, client.id, but=watch.killed, least=drift.OTHERS_LEAST, now=client.at)
        found += drift.family_killed(watch, rotation, Others(died, refreshed))
    news = [each for each in found if drift.is_news(client.drift, each)]
    if not news:
        if watch != before:
            rows.watch(connection, client.id, watch.row())
        return
    tightened = _tightened(client, settings, drift.strictest(news))
    kept = {each.what.value: _evidence(client, each, tightened) for each in news}
    rows.note(connection, client.id, kept, watched=watch.row(), tightened=tightened, now=client.at)
    for what, data in kept.items():
        event.of_client(connection, client.id, EventType.CLIENT_ROTATION_DRIFT, reason=what, data=data)
        log.warning(EventType.CLIENT_ROTATION_DRIFT, client=client.name, what=what, **data)


def _tightened(client: DriftingClient, settings: Settings, to: Rotation | None) -> Tightened | None:
    """What a stricter profile makes of the client's columns; None: it stays."""
    if to is None:
        return None
    try:
        provider = resolve(client.provider, {**client.overrides, "rotation": to}, settings)
    except OAuthError:
        log.exception("drift.not_tightened", client=client.name)
        return None
    return Tightened(to.value, provider.allowed_burst, times_of(provider, settings).lease)


def _evidence(client: DriftingClient, found: Finding, tightened: Tightened | None) -> dict[str, str | float | None]:
    """Without the ref: it would outlive the erasure of its grant."""
    to = found.after if found.what not in drift.FORCES or tightened is not None else None
    return {"seen_at": client.at.isoformat(), "grant_id": str(found.grant_id), "from": found.before, "to": to}


def answered(
    asked: Asked,
    row: LockedGrant,
    token_set: TokenSet,
    *,
    fingerprints: Sequence[bytes],
    life: timedelta,
    again: bool,
) -> Answered:
    """What one answer shows of its client's habits, beside its row as it was."""
    told = token_set.expires_in
    return Answered(
        grant_id=row.grant_id,
        started_at=asked.started_at,
        is_own=not again and row.generation == asked.generation and row.refresh_fingerprint == asked.fingerprint,
        rotated=token_set.refresh_token is not None and asked.fingerprint not in fingerprints,
        suspect_at=row.suspect_at,
        doubt_since=row.doubt_since,
        spent_refused_at=row.spent_refused_at,
        life_before=None if row.refreshed_at is None else row.life,
        life=None if told is None or told < 1 else life,
        is_watched=bool(row.drift_watch and row.drift_watch.get("shorter")),
    )


def habit(provider: Provider, row: LockedGrant) -> Habit:
    """What is said of the client now: its row was locked after the request was made."""
    return Habit(
        rotation=Rotation(row.rotation),
        grace=row.grace,
        until_next=provider.until_next,
        # What is exchanged for itself is another one each time.
        reissues=provider.reissues_refresh_token or provider.kind is not Kind.CODE,
        repeats_tokens=provider.same_token_above_seconds is not None,
    )
