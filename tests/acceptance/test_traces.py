"""Traces: the spans of real processes at a real collector, and refreshes that go on where there is none."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest

from tests.acceptance.installation import Installation
from tests.acceptance.providers import Simulated, simulated
from tests.attacks.canaries import Canaries
from tests.collector import Collected, Collector, collecting
from tests.polling import eventually
from worker.traces import ids_of

STEPS = ["claim", "start", "ask", "settle"]
GRANTS = 3
LIFETIME = 3.0
# A collector's key is a secret that nobody else is told. The library waits five seconds for more spans by itself.
FROM_OPERATOR = {"OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_EXPORTER_OTLP_HEADERS": "api-key=c0llectorKeyOfOurs"}


def begin(installation: Installation, provider: Simulated, url: str) -> list[dict[str, str]]:
    """Let grants be kept alive by processes that send their spans to a collector."""
    installation.register("temple", provider.registration(), provider.secret)
    rows = provider.mint(GRANTS)
    installation.import_grants("temple", rows)
    installation.env |= {"EVERGRANT_OTLP_ENDPOINT": url, **FROM_OPERATOR}
    installation.worker()
    installation.beat()
    return rows


def refreshed(provider: Simulated, *, times: int) -> bool:
    each = provider.refreshes()
    return len(each) == GRANTS and all(len(found) >= times for found in each.values())


def whole(collector: Collector) -> list[list[Collected]]:
    """The traces that have every step."""
    return [trace for trace in collector.traces().values() if [span.name for span in trace] == STEPS]


def test_a_refresh_is_one_trace_from_beat_to_the_commit_and_tells_no_secret(installation: Installation) -> None:
    canaries = Canaries()
    with collecting() as collector, simulated("on_use", lifetime=LIFETIME) as provider:
        for row in begin(installation, provider, collector.url):
            canaries.know("refresh token", row["refresh_token"])
            canaries.know("access token", row["access_token"])
        eventually(lambda: refreshed(provider, times=2), timeout=60)
        eventually(lambda: len(whole(collector)) >= 2 * GRANTS, timeout=60)
        kept = installation.refresh_tokens()
        for token in kept.values():
            canaries.know("refresh token", token)
        for token in installation.handed_out().values():
            canaries.know("access token", token)
        for process in installation.processes:
            assert process.stop() == 0
    assert collector.paths == {"/v1/traces"}
    for claim, start, ask, settle in whole(collector):
        assert (claim.parent_id, {span.parent_id for span in (start, ask, settle)}) == (b"", {claim.span_id})
        assert [span.process["evergrant.process"] for span in (claim, start, ask, settle)] == ["beat", *["worker"] * 3]
        assert all(span.begun <= span.ended for span in (claim, start, ask, settle))
        assert start.ended <= settle.ended
        made_of = UUID(claim.facts["evergrant.grant_id"]), claim.facts["evergrant.claim_no"]
        assert (int.from_bytes(claim.trace_id, "big"), int.from_bytes(claim.span_id, "big")) == ids_of(*made_of)
        assert settle.facts["evergrant.outcome"] == "refreshed"
        assert (settle.facts["evergrant.client"], settle.facts["http.response.status_code"]) == ("temple", 200)
        assert not any(span.failed for span in (claim, start, ask, settle))
    canaries.know("client secret", provider.secret)
    canaries.know("collector's key", "c0llectorKeyOfOurs")
    canaries.know("database password", installation.database_url)
    for ring in ("refresh", "access"):
        line = (installation.folder / f"{ring}.keys").read_text(encoding="utf-8").strip()
        canaries.know("ring", line.partition(":")[2])
    assert canaries.found(collector.raw) == set()
    assert [ref for ref in kept if ref.encode() in collector.raw] == []
    assert installation.logged("c0llectorKeyOfOurs") == []


@contextmanager
def nobody() -> Iterator[str]:
    """A port at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@contextmanager
def mute() -> Iterator[str]:
    """A collector that takes every connection and answers none."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize("away", [nobody, mute])
def test_where_the_collector_is_away_or_mute_grants_stay_alive_and_processes_end(
    installation: Installation, away: object
) -> None:
    assert callable(away)
    with away() as url, simulated("on_use", lifetime=LIFETIME) as provider:
        begin(installation, provider, url)
        eventually(lambda: refreshed(provider, times=2), timeout=60)
        eventually(lambda: installation.logged("spans batch"), timeout=60)
        assert provider.lost() == []
        assert [process.stop(30) for process in installation.processes] == [0, 0]


def test_where_the_packages_are_missing_one_sentence_says_so_before_anything_starts(
    installation: Installation,
) -> None:
    installation.env["EVERGRANT_OTLP_ENDPOINT"] = "http://127.0.0.1:1"
    without = "import sys; sys.modules['opentelemetry'] = None; from worker.cli import run; sys.exit(run(sys.argv[1:]))"
    for kind in ("worker", "beat", "up"):
        running = installation.run(f"bare-{kind}", [str(installation.programs / "python"), "-c", without, kind])
        assert running.wait() == 2
        (line,) = running.log.read_text(encoding="utf-8").splitlines()
        assert line == (
            "evergrant: EVERGRANT_OTLP_ENDPOINT: the packages that send spans are not installed;"
            " install `evergrant[otlp]` into this environment, or unset EVERGRANT_OTLP_ENDPOINT."
        )
