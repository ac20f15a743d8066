"""The sender where a request may go to public hosts only: what is looked at is what is connected to."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp.abc import ResolveResult

from tasks.oauth.answer import Answer, NotSent, Response
from tasks.oauth.host_names import HostNames
from tasks.oauth.messages import Request
from tests.raw_servers import BOUND, LONG, Bench, Server, keep_answering

PRIVATE = NotSent("host_private")


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


@pytest.fixture
def server(bench: Bench) -> Server:
    return bench.serve(keep_answering)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What the system's name service says; each look takes the next answer, and the last one stays."""
    said: dict[str, list[str]] = {}
    asked = HostNames.resolve

    async def look_up(resolver: HostNames, host: str, port: int = 0, *more: Any) -> list[ResolveResult]:
        if host not in said:
            return await asked(resolver, host, port, *more)
        address = said[host].pop(0) if len(said[host]) > 1 else said[host][0]
        numeric = socket.AI_NUMERICHOST
        return [
            ResolveResult(hostname=host, host=each, port=port, family=socket.AF_INET, proto=6, flags=numeric)
            for each in address.split()
        ]

    monkeypatch.setattr(HostNames, "resolve", look_up)
    return said


def ask(bench: Bench, host: str, server: Server, *, public_only: bool = True) -> Answer:
    request = Request("POST", f"http://{host}:{server.port}/t", {}, b"r=1", public_only=public_only)
    return bench.transport.submit(bench.transport.send(request, deadline=LONG)).result(BOUND)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1"]
)
def test_an_address_of_our_own_network_is_not_connected_to(bench: Bench, server: Server, host: str) -> None:
    assert ask(bench, host, server) == PRIVATE
    assert server.connections == 0


def test_a_name_of_our_own_network_is_not_connected_to(bench: Bench, server: Server) -> None:
    assert ask(bench, "localhost", server) == PRIVATE
    assert server.connections == 0


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f.1", "0177.0.0.1"])
def test_an_address_in_a_form_of_old_is_not_connected_to(bench: Bench, server: Server, host: str) -> None:
    assert isinstance(ask(bench, host, server), NotSent)
    assert server.connections == 0


def test_a_name_that_leads_home_is_not_connected_to_whatever_it_says_the_next_time(
    bench: Bench, server: Server, names: dict[str, list[str]]
) -> None:
    names["rebound.example"] = ["127.0.0.1", "192.0.2.1"]
    assert ask(bench, "rebound.example", server) == PRIVATE
    assert server.connections == 0


def test_of_a_name_with_public_and_private_addresses_the_private_ones_are_left_out(
    bench: Bench, server: Server, names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    names["both.example"] = ["127.0.0.1 127.0.0.2"]
    # As if 127.0.0.2 were public: loopback has no public address, and no packet leaves this machine.
    monkeypatch.setattr("tasks.oauth.public_hosts.is_public", lambda address: address == "127.0.0.2")
    other = bench.serve(keep_answering)
    answer = ask(bench, "both.example", other)
    assert isinstance(answer, NotSent)  # nobody listens at 127.0.0.2
    assert answer.code == "connect_refused"
    assert (server.connections, other.connections) == (0, 0)


def test_a_connection_of_one_who_may_go_there_is_not_used_by_one_who_may_not(bench: Bench, server: Server) -> None:
    assert isinstance(ask(bench, "localhost", server, public_only=False), Response)
    assert ask(bench, "localhost", server) == PRIVATE
    assert isinstance(ask(bench, "localhost", server, public_only=False), Response)
    assert (server.connections, len(server.requests)) == (1, 2)


def test_without_that_rule_our_own_network_is_reached_as_ever(bench: Bench, server: Server) -> None:
    assert isinstance(ask(bench, "127.0.0.1", server, public_only=False), Response)
