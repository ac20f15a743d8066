"""Metrics of the token port's connections: how many there are, and why some were cut off."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from worker.web.connections import Connections


class ConnectionMetrics(Collector):
    """Read at a scrape, by the thread of the operators' listener: these are plain numbers."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def collect(self) -> Iterable[Metric]:
        """What is so now."""
        now = GaugeMetricFamily(
            "evergrant_web_connections", "Connections to the token interface; key: one came on it.", labels=["key"]
        )
        now.add_metric(["yes"], self._connections.known)
        now.add_metric(["no"], self._connections.strangers)
        yield now
        closed = CounterMetricFamily(
            "evergrant_web_connections_closed", "Connections that were cut off, and why.", labels=["cause"]
        )
        for cause, count in self._connections.closed_for.items():
            closed.add_metric([cause], count)
        yield closed
