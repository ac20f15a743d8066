"""Expiring: what ends soon and renewing will not mend is told in time, once; what is renewed is not told about."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest

from models.database import transaction
from models.views import expiring, fleet, listing
from tasks.runtime import clock
from tests.harness import LOST, Harness, token_set

DAY = timedelta(days=1)


def tell(harness: Harness) -> list[tuple[str, datetime]]:
    """Carry out the chore; returns what was told, ever."""
    with transaction() as connection:
        expiring.tell_expiring(connection)
    told = harness.all("select data from evergrant.events where type = 'grant.expiring' order by id")
    return [(row["data"]["what"], datetime.fromisoformat(row["data"]["at"])) for row in told]


def counted(harness: Harness) -> tuple[int, int]:
    """How many are expiring: by the count of the fleet, and listed for the next fourteen days."""
    with transaction() as connection:
        (row,) = fleet.by_client(connection)
        return row["expiring"], len(list(listing.grants(connection, expiring_within=14 * DAY)))


def of_age(harness: Harness, grant: UUID, *, days: float, left: float, what: str = "consent_expires_at") -> datetime:
    """Give a grant an end `left` days from now; it, and its token set, are `days` old."""
    now = clock.wall()
    harness.set(grant, **{what: now + left * DAY}, created_at=now - days * DAY, refreshed_at=now - days * DAY)
    end: datetime = harness.row(grant)[what]
    return end


def test_a_consent_that_ends_is_told_fourteen_days_ahead_and_once(harness: Harness) -> None:
    grant = harness.grant(harness.client())
    of_age(harness, grant, days=300, left=14.1)
    assert (tell(harness), counted(harness)) == ([], (0, 0))
    end = of_age(harness, grant, days=300, left=13.9)
    assert tell(harness) == tell(harness) == [("consent", end)]
    assert counted(harness) == (1, 1)


@pytest.mark.parametrize(("days", "left", "told"), [(4, 6, 0), (6, 4, 1)])
def test_a_short_one_is_told_at_half_of_its_life(harness: Harness, days: float, left: float, told: int) -> None:
    grant = harness.grant(harness.client())
    of_age(harness, grant, days=days, left=left)
    assert len(tell(harness)) == told
    assert counted(harness) == (told, told)  # one definition for the count and for the list


def test_the_consent_of_an_imported_grant_is_told_fourteen_days_ahead_however_young_its_row(harness: Harness) -> None:
    grant = harness.grant(harness.client())
    harness.run(
        "insert into evergrant.events (type, client_id, grant_id, ref)"
        " select 'grant.imported', client_id, id, ref from evergrant.grants"
    )
    of_age(harness, grant, days=0, left=14.1)
    assert (tell(harness), counted(harness)) == ([], (0, 0))
    end = of_age(harness, grant, days=0, left=13.9)
    assert tell(harness) == [("consent", end)]
    assert counted(harness) == (1, 1)


def test_an_end_that_moved_is_told_anew(harness: Harness) -> None:
    grant = harness.grant(harness.client())
    ends = [of_age(harness, grant, days=300, left=3), *tell(harness)][:1]
    ends.append(of_age(harness, grant, days=300, left=5))
    assert tell(harness) == [("consent", end) for end in ends]


def test_a_refresh_token_that_is_renewed_is_not_told_about(harness: Harness) -> None:
    grant = harness.grant(harness.client())
    of_age(harness, grant, days=50, left=1, what="refresh_expires_at")
    assert (tell(harness), counted(harness)) == ([], (0, 0))


STUCK = {
    "paused": "update evergrant.grants set status = 'paused'",
    "its client is paused": "update evergrant.valves set paused_by_operator = true",
    "failing for two hours": "update evergrant.grants set failures = 9, failing_since = now() - interval '2 hours'",
    "suspect for two hours": "update evergrant.grants set suspect_at = now() - interval '2 hours'",
    "in doubt for two hours": "update evergrant.grants set doubt_since = now() - interval '2 hours'",
}


@pytest.mark.parametrize("stuck", STUCK.values(), ids=STUCK.keys())
def test_one_that_nobody_renews_is_told_in_time(harness: Harness, stuck: str) -> None:
    grant = harness.grant(harness.client())
    end = of_age(harness, grant, days=50, left=10, what="refresh_expires_at")
    harness.run(stuck)
    assert tell(harness) == [("refresh_token", end)]
    assert counted(harness) == (1, 1)


@pytest.mark.parametrize("status", ["needs_consent", "revoking", "revoked"])
def test_what_has_ended_anyway_is_not_told_about(harness: Harness, status: str) -> None:
    grant = harness.grant(harness.client())
    of_age(harness, grant, days=300, left=3)
    harness.set(grant, status=status)
    assert (tell(harness), counted(harness)) == ([], (0, 0))


def test_the_nearest_end_of_all_is_counted_with_them(harness: Harness) -> None:
    client = harness.client()
    nearest = of_age(harness, harness.grant(client, "a"), days=300, left=2)
    of_age(harness, harness.grant(client, "b"), days=300, left=3)
    of_age(harness, harness.grant(client, "c"), days=1, left=300)
    with transaction() as connection:
        (row,) = fleet.by_client(connection)
    assert (row["expiring"], row["first_expires_at"]) == (2, nearest)


# ── where the ends come from ────────────────────────────────────────────────────────────────────────────────────


def test_horizons_are_stored_with_the_token_set_and_put_off_by_the_next(harness: Harness) -> None:
    client = harness.client(refresh_idle_days=60, consent_days=182)
    grant = harness.grant(client)
    harness.ask(client, token_set("2"))
    first = harness.row(grant)
    assert first["refresh_expires_at"] - first["refreshed_at"] == 60 * DAY
    assert first["consent_expires_at"] - first["created_at"] == 182 * DAY
    harness.later(hours=2)
    harness.ask(client, token_set("3", refresh_token_expires_in=86400))
    second = harness.row(grant)
    assert second["refresh_expires_at"] - second["refreshed_at"] == DAY
    assert second["consent_expires_at"] - second["created_at"] == 182 * DAY


def test_kept_on_demand_it_is_renewed_before_its_refresh_token_idles_out(harness: Harness) -> None:
    client = harness.client(refresh_idle_days=2)
    harness.run("update evergrant.clients set keep = 'on-demand'")
    harness.grant(client)
    harness.ask(client, token_set("2"))
    harness.later(hours=20)
    assert harness.claim(client).due == []
    harness.later(hours=7)
    assert len(harness.claim(client).due) == 1


def test_a_failing_one_is_asked_once_more_before_its_refresh_token_ends(harness: Harness) -> None:
    client = harness.client()
    grant = harness.grant(client, failures=30, failing_since=clock.wall(), failing_for=timedelta(days=2))
    harness.set(grant, refresh_expires_at=clock.wall() + timedelta(minutes=21))
    harness.ask(client, LOST)
    wait = harness.row(grant)["due_at"] - clock.wall()
    assert timedelta(minutes=19) < wait <= timedelta(minutes=20)
