"""Meters: what a worker and a beat have done, and how they tell it."""

import http.client
import socket
import threading
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from tasks.runtime.meters import OF_BEAT, OF_WORKER, Count, Lengths
from tests.metrics_page import on_the_page, scraped
from worker import metrics
from worker.metrics import Meters

SECOND = timedelta(seconds=1)


def told(*meters: Count | Lengths) -> str:
    registry = CollectorRegistry()
    registry.register(Meters(meters))
    return generate_latest(registry).decode()


def used(meter: Count | Lengths) -> Count | Lengths:
    """A copy that has counted once: without a series a meter shows no labels."""
    if isinstance(meter, Count):
        count = Count(meter.name, meter.told, meter.labels)
        count.add({meter.labels: 1})
        return count
    lengths = Lengths(meter.name, meter.told, meter.labels, meter.bounds)
    lengths.add([(meter.labels, SECOND)])
    return lengths


@pytest.mark.parametrize(("part", "meters"), [("a worker", OF_WORKER), ("a beat", OF_BEAT)])
def test_the_page_of_metrics_has_each_of_them_and_no_other(part: str, meters: tuple[Count | Lengths, ...]) -> None:
    assert scraped(told(*map(used, meters))) == on_the_page(part)


def test_no_label_is_anything_of_which_there_may_be_many() -> None:
    labels = {label for meter in (*OF_WORKER, *OF_BEAT) for label in meter.labels}
    assert labels == {"client", "outcome", "evidence", "kind", "reason", "result", "webhook"}


def test_a_length_is_counted_in_every_bucket_that_it_fits_and_less_than_nothing_as_nothing() -> None:
    meter = Lengths("x_seconds", "X.", ("client",), (0, 1, 60))
    meter.add((("a",), each * SECOND) for each in (-5, 0, 1, 1.5, 61))
    text = told(meter)
    for line in (
        'bucket{client="a",le="0"} 2.0',
        'le="1"} 3.0',
        'le="60"} 4.0',
        'le="+Inf"} 5.0',
        'sum{client="a"} 63.5',
    ):
        assert line in text
    assert 'evergrant_x_seconds_count{client="a"} 5.0' in text


def test_counting_from_many_threads_loses_nothing() -> None:
    count, lengths = Count("x", "X.", ("client",)), Lengths("y_seconds", "Y.", ("client",), (1,))

    def work() -> None:
        for _ in range(2000):
            count.add({("a",): 1})
            lengths.add([(("a",), SECOND)])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count.read() == {("a",): 16_000}
    assert sum(lengths.read()["a",].counts) == 16_000


def scrape(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def test_each_process_takes_the_next_port_that_is_free_on_loopback_alone() -> None:
    meter = Count("x", "X.", ())
    meter.add({(): 7})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        first = taken.getsockname()[1]
        port = metrics.serve([meter], first)
        assert port is not None
        assert first < port < first + metrics.TRIES
        assert "evergrant_x_total 7.0" in scrape(port)
        assert "process_cpu_seconds_total" in scrape(port)
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.2", port), timeout=5)


def test_any_port_will_do_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert metrics.serve([], 0) is not None
    assert metrics.serve([], -1) is None
    monkeypatch.setattr(metrics, "TRIES", 1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert metrics.serve([], taken.getsockname()[1]) is None
