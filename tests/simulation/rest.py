"""Rest: what must be true of every grant once all faults have ended."""

from datetime import timedelta

from tests.simulation.episode import Episode
from tests.simulation.tables import Row

A_DAY = timedelta(days=1)
HOURS = timedelta(hours=2)


def unrest(episode: Episode, row: Row) -> tuple[str, str] | None:
    """Invariants 13 and 16: a grant is alive and fresh, or somebody was told."""
    consent, now = episode.judge.consents[row["id"]], episode.world.now
    fresh = row["access_expires_at"] is not None and row["access_expires_at"] >= now
    # A revocation that a restore made forgotten may have ended one of its pairs, and another lives on: it is refreshed.
    half_ended = consent.revoked_at is not None and consent.live > 0 and fresh
    gone = consent.lost(episode.world.seconds) or (consent.revoked_at is not None and not half_ended)
    revocation = episode.tables.revocations.get(row["id"])
    if revocation is not None:
        ended = revocation["status"] != "queued" or _told(episode, row) or _is_refused(episode, revocation)
        return None if ended else ("16", f"a revocation does not end ({revocation['last_error_code']})")
    if gone:
        # Where the provider said that its token lives for a year, nobody can know before somebody uses it.
        unknown = row["suspect_at"] is None and (row["access_expires_at"] or now) > now + A_DAY
        suspect = f"suspect since {row['suspect_at']}"
        told = _told(episode, row) or _is_refused(episode, row)
        return None if unknown or told else ("16", f"it is dead and nobody was told ({suspect})")
    if row["doubt_since"] is not None and _waits(episode, row):
        return None
    if row["status"] != "active":
        return ("13", f"it lives, and is {row['status']} in calm weather")
    if not fresh:
        return ("13", "in calm weather its access token has ended")
    return None


def _is_refused(episode: Episode, row: Row) -> bool:
    """Whether it is refused in a dialect, for less than a day: then a human will be told."""
    since = row.get("refused_since", row["failing_since"])
    word = episode.judge.living.word
    return (
        word is not None
        and row["last_error_code"] == word
        and since is not None
        and episode.world.now - since < A_DAY + HOURS
    )


def _told(episode: Episode, row: Row) -> bool:
    grant_id, tables = row["id"], episode.tables
    letter = any(each["resolved_at"] is None for each in tables.of_grant("letters", grant_id))
    held = tables.valves[row["client_id"]]["deaths_held_at"] is not None
    return letter or held or _waits(episode, row)


def _waits(episode: Episode, row: Row) -> bool:
    """Whether a journal that may hold its answer lies on a machine that is off, and somebody was told."""
    owners = {worker.runtime.journal_id for worker in episode.workers if worker.runtime is not None}
    undrained = {j["id"] for j in episode.tables.journals.values() if j["drained_at"] is None}
    events = episode.tables.of_grant("events", row["id"])
    waits = bool(undrained.intersection(row["doubt_journals"]) - owners)
    return waits and any(each["type"] == "grant.waiting" for each in events)
