"""Visit metrics: how customers get on who connect in their own browser, and whether anybody leads them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import Connection, RowMapping

from models import public_listener
from models.public_listener import PublicListener
from models.views import visits
from models.views.visits import Hour


@dataclass(frozen=True)
class Visits:
    """What the database knows of them at one moment."""

    listener: PublicListener
    waiting: Sequence[RowMapping]
    hour: Hour


def look(connection: Connection) -> Visits:
    """Read all of it."""
    return Visits(public_listener.known(connection), visits.waiting(connection), visits.hour(connection))


def families(found: Visits, clients: Iterable[str]) -> Iterable[Metric]:
    """As metrics; of each client is told how many wait, be it none."""
    yield from _of_waiting(found.waiting, clients)
    ended = _family("visits_ended", "Visits that ended within the last hour.", "client", "outcome", "reason")
    for row in found.hour.ended:
        ended.add_metric([row["client"], row["outcome"], row["reason"] or ""], row["visits"])
    yield ended
    told = "From a customer's return to the end of their visit, of those that ended within the last hour."
    seconds = _family("visit_seconds", told, "client", "quantile")
    for client, of_quantile in found.hour.seconds.items():
        for quantile, value in of_quantile.items():
            seconds.add_metric([client, quantile], value)
    yield seconds
    served = _family("public_listener_served", "Whether a web has said lately that it leads customers.")
    if found.listener.url is not None:
        served.add_metric([], int(found.listener.is_served))
    yield served


def _of_waiting(rows: Sequence[RowMapping], clients: Iterable[str]) -> Iterable[Metric]:
    many: dict[str, int] = defaultdict(int)
    longest: dict[str, timedelta] = defaultdict(timedelta)
    for row in rows:
        many[row["client"]] += row["visits"]
        longest[row["client"]] = max(longest[row["client"]], row["lag"])
    waiting = _family(
        "visits_waiting", "Customers who are back from the provider and wait for their exchange.", "client"
    )
    lag = _family("visits_lag_seconds", "How long the first of them has waited.", "client")
    for client in clients:
        waiting.add_metric([client], many[client])
        lag.add_metric([client], longest[client].total_seconds())
    yield from (waiting, lag)


def _family(name: str, told: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"evergrant_{name}", told, labels=labels)
