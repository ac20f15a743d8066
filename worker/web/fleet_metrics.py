"""Fleet metrics: what the database knows, read at a scrape, at most every few seconds, never in the asker's way."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Connection, RowMapping

from models import installation, webhook
from models.states.grant import GrantStatus
from models.states.installation import DatabaseState
from models.states.process import ProcessKind
from models.states.revocation import RequestStatus, RevocationStatus
from models.views import fleet
from tasks.runtime import clock
from worker.web import visit_metrics
from worker.web.database import Database

log = structlog.get_logger()

# One pass over the grants costs a second at a million of them; several scrapers share it.
FRESH_FOR = timedelta(seconds=5)

COUNTS = {
    "due": "Grants that may be claimed now.",
    "under_way": "Grants under a live lease.",
    "failing": "Active grants whose last attempt failed.",
    "in_doubt": "Grants with an attempt whose outcome is unknown.",
    "suspect": "Grants whose refresh token was refused once.",
    "lapsed": "Grants kept warm whose access token has ended.",
    "expiring": "Grants whose refresh token or consent ends soon, which renewing will not mend.",
}
NAMES = {"suspect": "suspects", "expiring": "grants_expiring"}
WITHIN = ("10m", "20m", "40m")


@dataclass(frozen=True)
class Picture:
    """The fleet at one moment."""

    database: str
    clients: list[RowMapping]
    letters: dict[str, int]
    revocations: dict[str, int]
    orphaned: int
    damaged_journals: int
    overdue_chores: int
    alive: Counter[str]
    webhooks: Sequence[RowMapping]
    visits: visit_metrics.Visits


def look(connection: Connection, environment: str | None) -> Picture:
    """Read everything in one transaction."""
    processes = fleet.processes(connection)
    return Picture(
        installation.state(connection, environment),
        fleet.by_client(connection),
        fleet.open_dead_letters(connection),
        fleet.open_revocations(connection),
        fleet.journals_waited_for(connection),
        len(fleet.damaged_journals(connection)),
        len(fleet.overdue_chores(connection)),
        Counter(each["kind"] for each in processes if each["alive"]),
        webhook.listed(connection),
        visit_metrics.look(connection),
    )


class FleetMetrics(Collector):
    """The last picture as metrics; where the database is away it says so, and shows nothing that is old."""

    def __init__(self, database: Database, *, environment: str | None) -> None:
        self._database = database
        self._environment = environment
        self._picture: Picture | None = None
        self._looked_at: timedelta | None = None
        self._looking = asyncio.Lock()

    async def refresh(self) -> None:
        """Look, unless that was done a moment ago."""
        async with self._looking:
            if self._looked_at is not None and clock.boot() - self._looked_at < FRESH_FOR:
                return
            try:
                self._picture = await self._database.run(lambda connection: look(connection, self._environment))
            except Exception as error:  # noqa: BLE001  # a metric tells it
                log.warning("web.no_picture", error=type(error).__name__)
                self._picture = None
            self._looked_at = clock.boot()

    def describe(self) -> Iterable[Metric]:
        """Say nothing when it is registered, before the first look."""
        return []

    def collect(self) -> Iterable[Metric]:
        """The last picture."""
        answers = self._picture is not None
        yield _gauge("database_answers", "Whether the database answered the last look.", int(answers))
        if self._picture is not None:
            yield from _of_clients(self._picture.clients)
            yield from _of_all(self._picture)
            yield from _of_webhooks(self._picture.webhooks)
            yield from visit_metrics.families(self._picture.visits, [row["name"] for row in self._picture.clients])


def _of_clients(clients: list[RowMapping]) -> Iterable[Metric]:
    grants = _family("grants", "Grants by status.", "client", "status")
    for row in clients:
        for status in GrantStatus:
            grants.add_metric([row["name"], status], row[status])
    yield grants
    for count, told in COUNTS.items():
        yield _by_client(NAMES.get(count, count), told, {row["name"]: row[count] for row in clients})
    lateness = {row["name"]: _seconds(row["lateness"], 0.0) for row in clients}
    yield _by_client("lateness_seconds", "How long the oldest due grant has waited to be claimed.", lateness)
    runway = {row["name"]: _seconds(row["runway"], None) for row in clients}
    known = {name: value for name, value in runway.items() if value is not None}
    yield _by_client("runway_seconds", "Until the first access token kept warm ends, if all stood still.", known)
    ending = _family(
        "access_tokens_ending", "Access tokens kept warm that end soon, if all stood still.", "client", "within"
    )
    for row in clients:
        for within in WITHIN:
            ending.add_metric([row["name"], within], row[f"ending_{within}"])
    yield ending
    shut = {row["name"]: int(row["paused_until"] is not None or bool(row["paused_by_operator"])) for row in clients}
    yield _by_client("valve_shut", "Whether nothing is sent for the client, by itself or by an operator.", shut)
    slow = {row["name"]: row["slowed_by"] or 0 for row in clients}
    yield _by_client("pace_halved", "How often the client's pace was halved, for many were refused alike.", slow)
    held = {row["name"]: int(row["deaths_held_at"] is not None) for row in clients}
    yield _by_client("deaths_held", "Whether verdicts wait for a human, since many grants are suspect.", held)
    drifted = {row["name"]: len(row["drift"] or ()) for row in clients}
    yield _by_client("rotation_drift", "Kinds of what has contradicted its rotation profile since it was set.", drifted)


def _of_webhooks(webhooks: Sequence[RowMapping]) -> Iterable[Metric]:
    queued = _family("webhook_queued", "Deliveries that wait for the webhook.", "webhook")
    lag = _family("webhook_lag_seconds", "How long the oldest of them has waited.", "webhook")
    dead = _family("webhook_dead", "Deliveries to the webhook that were given up, of the last 30 days.", "webhook")
    is_open = _family("webhook_open", "Whether anything is sent to the webhook.", "webhook")
    for row in webhooks:
        name = [str(row["id"])]
        queued.add_metric(name, row["queued"])
        lag.add_metric(name, _seconds(row["lag"], 0.0))
        dead.add_metric(name, row["dead"])
        is_open.add_metric(name, int(row["paused_reason"] is None and not row["is_foreign"]))
    yield from (queued, lag, dead, is_open)


def _of_all(picture: Picture) -> Iterable[Metric]:
    states = _family("database_state", "In which state the database is: nothing is sent but where it fits.", "state")
    for state in DatabaseState:
        states.add_metric([state], int(picture.database == state))
    yield states
    letters = _family("dead_letters_open", "Dead letters that nobody has closed.", "cause")
    for cause, count in picture.letters.items():
        letters.add_metric([cause], count)
    yield letters
    revocations = _family("revocations_open", "Revocations that have not ended well.", "status")
    for status in (RevocationStatus.QUEUED, RevocationStatus.DEAD, RequestStatus.HELD):
        revocations.add_metric([status], picture.revocations.get(status, 0))
    yield revocations
    yield _gauge("journals_waited_for", "Journals that nobody holds and grants in doubt wait for.", picture.orphaned)
    yield _gauge("journals_damaged", "Journals that cannot be read to their end.", picture.damaged_journals)
    overdue = "Periodic work that was not done for several of its intervals."
    yield _gauge("chores_overdue", overdue, picture.overdue_chores)
    alive = _family("processes_alive", "Processes that said lately that they live.", "kind")
    for kind in ProcessKind:
        alive.add_metric([kind], picture.alive[kind])
    yield alive


def _seconds(length: timedelta | None, absent: float | None) -> Any:
    return absent if length is None else length.total_seconds()


def _by_client(name: str, told: str, values: dict[str, Any]) -> GaugeMetricFamily:
    family = _family(name, told, "client")
    for client, value in values.items():
        family.add_metric([client], value)
    return family


def _family(name: str, told: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"evergrant_{name}", told, labels=labels)


def _gauge(name: str, told: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"evergrant_{name}", told, value=value)
