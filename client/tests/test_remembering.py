"""What a process remembers: as long as it lasts, never after a 401, and not for ever."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from evergrant_client import NotFreshYet, Token, UnknownGrant, Unreachable
from evergrant_client import memory as remembering
from evergrant_client.flights import Flights
from evergrant_client.memory import Memory
from evergrant_client.testing import FakeEvergrant
from evergrant_client.token import Held


def held(generation: int, *, ends_at: float) -> Held:
    return Held(Token("t", generation, datetime.now(UTC)), ends_at=ends_at, life=None, read_at=0)


def test_a_token_is_remembered_until_it_lives_no_longer_than_was_asked(evergrant: FakeEvergrant) -> None:
    evergrant.connect("short", life=300)
    evergrant.access_token("short")
    evergrant.go_away()
    assert evergrant.access_token("short", min_ttl=90).generation == 1
    evergrant.connect("shorter", life=80)
    evergrant.come_back()
    evergrant.access_token("shorter")
    evergrant.go_away()
    # A third of its life is all that can be asked for.
    assert evergrant.access_token("shorter", min_ttl=3600).generation == 1


def test_a_401_is_never_answered_from_memory(evergrant: FakeEvergrant) -> None:
    token = evergrant.access_token("customer")
    evergrant.go_away()
    with pytest.raises(Unreachable):
        evergrant.access_token("customer", rejected=token)
    with pytest.raises(Unreachable):
        evergrant.access_token("customer")


def test_what_was_reported_is_forgotten_for_every_organization(evergrant: FakeEvergrant) -> None:
    evergrant.connect("chain", labels={"org": ["a", "b"]})
    tokens = [evergrant.access_token("chain", org=org) for org in ("a", "b")]
    evergrant.report_rejected("chain", tokens[0])
    assert [evergrant.access_token("chain", org=org).generation for org in ("a", "b")] == [2, 2]
    assert len(evergrant.requested) == 1


def test_fifty_threads_that_want_the_same_token_ask_once(evergrant: FakeEvergrant) -> None:
    evergrant.expire("customer")
    barrier = threading.Barrier(50)

    def want(_: int) -> str:
        barrier.wait(30)
        return evergrant.access_token("customer").value

    with ThreadPoolExecutor(50) as pool:
        assert set(pool.map(want, range(50))) == {"secret-2"}
    assert len(evergrant.requested) == 1


def test_whoever_waits_for_another_threads_answer_gives_up_in_time(evergrant: FakeEvergrant) -> None:
    with evergrant._flights.alone(("customer", None), 1) as mine:
        assert mine
        with ThreadPoolExecutor(1) as pool, pytest.raises(NotFreshYet):
            pool.submit(evergrant.access_token, "customer", timeout=0.05).result()


def test_a_lock_is_forgotten_when_nobody_wants_it() -> None:
    flights = Flights()
    with flights.alone("a", 1), flights.alone("a", 0.01) as second:
        assert not second
    with flights.alone("a", 1) as mine:
        assert mine
    assert flights._locks == {}


def test_tokens_that_have_ended_are_swept_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembering, "SWEEP_AT", 4)
    memory = Memory()
    for number in range(12):
        memory.keep((f"ref-{number}", None, None), held(1, ends_at=0.0))
    assert len(memory._held) < 8


def test_an_unknown_grant_is_no_memory(evergrant: FakeEvergrant) -> None:
    with pytest.raises(UnknownGrant):
        evergrant.access_token("nobody")
    evergrant.connect("nobody")
    assert evergrant.access_token("nobody").value == "token-of-nobody"
