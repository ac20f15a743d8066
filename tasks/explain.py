"""Explain: why a grant is as it is: read once, decided by tasks/policy/explanation, told alike wherever people ask."""

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping

import settings as configuration
from models import installation, lock_holder
from models.states.client import Keep
from models.states.grant import GrantStatus
from models.views import standing
from models.views.standing import Standing
from tasks.oauth.errors import OAuthError
from tasks.oauth.rotation import Rotation
from tasks.oauth.shapes import Kind
from tasks.policy import pace
from tasks.policy.backlog import LATE
from tasks.policy.explanation.cause import Explanation
from tasks.policy.explanation.facts import Act, Client, Database, Facts, Grant, Journal, Letter, Process, Revocation
from tasks.policy.explanation.order import explain
from tasks.policy.valve import Valve, interval
from tasks.runtime import disk
from tasks.runtime.registration import resolve


def of_grant(
    connection: Connection, grant_id: UUID, *, settings: configuration.Settings, unwritable: str | None = None
) -> Explanation:
    """Explain a grant as it stands now, to whoever asks with these settings.

    `unwritable`: why the database commits nothing, where whoever asks has found that out.
    """
    fault = unwritable or installation.unwritable(connection)
    found = standing.of_grant(connection, grant_id)
    # Applications ask for those who need consent again and again: the server's locks are read for nobody's pleasure.
    holder = lock_holder.long_holder(connection) if _is_late(found.row) else None
    return explain(facts_of(found, settings, unwritable=fault, holder=holder))


def _is_late(row: RowMapping) -> bool:
    return bool(row["status"] == GrantStatus.ACTIVE and row["at"] - row["due_at"] >= LATE)


def facts_of(
    found: Standing,
    settings: configuration.Settings,
    *,
    unwritable: str | None = None,
    holder: lock_holder.LockHolder | None = None,
) -> Facts:
    """What the policy reads."""
    row = found.row
    journals = [_journal(each) for each in found.journals if each["may_hold_it"]]
    full_disk = disk.full(settings.home)
    return Facts(
        at=row["at"],
        grant=_grant(row),
        client=_client(row, settings),
        database=Database(
            state=row["database_state"],
            environment=row["environment"],
            asked_as=settings.environment,
            name=row["database_name"],
            adopted_name=row["adopted_name"],
            incident_at=row["incident_at"],
            leads_customers=settings.public_url is not None or row["public_url"] is not None,
            awaited=tuple(_journal(each) for each in found.journals if each["is_awaited"]),
            unwritable=unwritable,
            holder=None if holder is None else str(holder),
            holder_remedy=None if holder is None else holder.remedy,
        ),
        processes=tuple(_process(each) for each in found.processes),
        journals=tuple(journals),
        revocation=_revocation(row),
        held=None if row["held_at"] is None else Act(row["held_at"], row["held_by"]),
        letter=None
        if row["letter_id"] is None
        else Letter(row["letter_id"], row["letter_cause"], row["dead_at"], row["look_at"]),
        worked_at=row["worked_at"],
        full_disk=None if full_disk is None else str(full_disk),
    )


def _grant(row: RowMapping) -> Grant:
    same = (
        *("ref", "status", "due_at", "created_at", "reason", "refreshed_at", "access_expires_at", "life", "claimed_at"),
        *("started_at", "doubt_since", "doubt_repeated", "suspect_at"),
        *("failures", "attempts", "failing_since", "failed_alone"),
        *("last_error_code", "last_error_http_status", "last_error_at", "last_error_rule", "asked_at", "ends_soon_at"),
        *("last_error_shape", "consent_expires_at", "refresh_expires_at"),
        *("refresh_key_id", "access_key_id", "formers"),
    )
    return Grant(
        **{name: row[name] for name in same},
        on_demand=row["keep"] == Keep.ON_DEMAND,
        paused=None if row["paused_at"] is None else Act(row["paused_at"], row["paused_by"]),
        has_refresh_token=row["refresh_key_id"] is not None,
    )


def _client(row: RowMapping, settings: configuration.Settings) -> Client:
    slow = pace.allowed(pace.Pace(slowed_by=row["slowed_by"] or 0, slowed_from=row["slowed_from"]))
    valve = Valve(row["rate_per_minute"], row["burst"], row["next_slot_at"], 0, pace_per_minute=slow)
    shut = row["paused_until"] is not None
    same = (
        *("rotation", "grace", "rate_per_minute", "next_slot_at", "burst", "under_way", "ahead", "slowed_code"),
        *("grant_interval", "deaths_held_at", "witness_at", "secret_refused_at", "secret_refused_code"),
        *("secret_key_id", "refused_alike", "unconfirmed_since", "unconfirmed_code"),
    )
    return Client(
        **{name: row[name] for name in same},
        name=row["client"],
        after_grace=row["after_grace"] or Rotation.FAMILY,
        paused=Act(row["client_paused_at"], row["client_paused_by"]) if row["paused_by_operator"] else None,
        shut_until=row["paused_until"],
        shut_since=row["changed_at"] if shut else None,
        shut_for=row["pause_reason"] if shut else None,
        shut_shape=row["shut_shape"] if shut else None,
        shut_by_refusals=shut and row["shut_by_refusals"],
        canary_is_this=shut and row["canary_is_this"],
        interval=interval(valve),
        slowed_to=slow,
        half_pace_until=row["scarce_until"],
        **_of_file(row, settings),
    )


def _of_file(row: RowMapping, settings: configuration.Settings) -> dict[str, Any]:
    """What the provider's file says, or why it cannot be used here; workers have the same, unless one was mended."""
    try:
        provider = resolve(row["provider"], row["overrides"], settings)
    except OAuthError as error:
        return {"file_fault": str(error).rstrip(".")}
    return {"has_user": provider.kind is not Kind.CLIENT_CREDENTIALS}


def _process(row: RowMapping) -> Process:
    rings = {name: None if row[name] is None else tuple(row[name]) for name in ("refresh_key_ids", "access_key_ids")}
    return Process(**{**row, **rings})


def _journal(row: RowMapping) -> Journal:
    return Journal(row["id"], row["host"], row["seen_at"], row["alive"], row["damage"])


def _revocation(row: RowMapping) -> Revocation | None:
    if row["revocation_id"] is None:
        return None
    return Revocation(
        id=row["revocation_id"],
        status=row["revocation_status"],
        requested=Act(row["requested_at"], row["requested_by"]),
        due_at=row["revocation_due_at"],
        done_at=row["done_at"],
        evidence=row["evidence"],
        last_error_code=row["revocation_error"],
        own_is_dead=row["own_is_dead"],
    )
