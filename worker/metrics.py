"""Metrics of a worker or a beat: what its meters have counted, served on loopback for Prometheus.

Several processes of a machine share one setting, so each takes the first port from EVERGRANT_METRICS_PORT on that is
free; `evergrant status` shows which. Prometheus' library is imported here alone, and in web.
"""

from collections.abc import Iterable, Iterator, Sequence

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from tasks.runtime.meters import Count, Lengths
from worker import metrics_port

log = structlog.get_logger()

LOOPBACK = "127.0.0.1"
OFF = -1
TRIES = 64  # as many workers as `up` runs at most


class Meters(Collector):
    """The meters of this process as Prometheus' families."""

    def __init__(self, meters: Sequence[Count | Lengths]) -> None:
        self._meters = meters

    def describe(self) -> Iterable[Metric]:
        """Nothing needs to be asked to register it."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read every meter."""
        for meter in self._meters:
            yield _counter(meter) if isinstance(meter, Count) else _histogram(meter)


def _counter(meter: Count) -> CounterMetricFamily:
    family = CounterMetricFamily(f"evergrant_{meter.name}", meter.told, labels=meter.labels)
    for labels, count in meter.read().items():
        family.add_metric(labels, count)
    return family


def _histogram(meter: Lengths) -> HistogramMetricFamily:
    family = HistogramMetricFamily(f"evergrant_{meter.name}", meter.told, labels=meter.labels)
    for labels, series in meter.read().items():
        buckets, below = [], 0
        for bound, count in zip([*meter.bounds, float("inf")], series.counts, strict=True):
            below += count
            buckets.append(("+Inf" if bound == float("inf") else f"{bound:g}", below))
        family.add_metric(labels, buckets, series.total)
    return family


def serve(meters: Sequence[Count | Lengths], port: int) -> int | None:
    """Serve the meters of this process on loopback; returns the port, None where `port` is OFF or none is free.

    Args:
        meters: what is served, beside this process's CPU, memory and files.
        port: the first to be tried; 0: any that is free.

    """
    if port == OFF:
        return None
    registry = CollectorRegistry()
    registry.register(Meters(meters))
    ProcessCollector(registry=registry)
    for each in [0] if port == 0 else range(port, min(port + TRIES, 65536)):
        try:
            taken = metrics_port.serve(registry, LOOPBACK, each)
        except OSError:
            continue
        log.info("metrics.served", url=f"http://{LOOPBACK}:{taken}/metrics")
        return taken
    log.error("metrics.no_port", first=port, tries=TRIES, remedy="set EVERGRANT_METRICS_PORT=0")
    return None
