"""A child that lives and hangs is killed, to be started again; nobody is where it may be the database's fault."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

import settings
from models import database
from tests.harness import Harness
from tests.polling import eventually
from worker.embedded.process import Process, Program
from worker.embedded.silence import LOOK_SECONDS, Hearing, Silence

SPEAKS = """
insert into evergrant.processes (id, kind, host, pid) values (gen_random_uuid(), 'worker', :host, :pid)
"""
SPEAKS_AGAIN = "update evergrant.processes set seen_at = clock_timestamp() where pid = :pid"
LOOK = 0.05
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
HUNG, OTHER = 7, 8


def looks(*rounds: tuple[int, Callable[[int], dict[int, int]]], every: float = LOOK_SECONDS) -> dict[int, float]:
    """What the last of many looks found: so many of each round, which tells the minute of each one's word."""
    hearing, at, found = Hearing(LOOK_SECONDS), 0.0, {}
    for count, words in rounds:
        for number in range(count):
            heard = {pid: NOON + timedelta(minutes=minute) for pid, minute in words(number).items()}
            found, at = hearing.take(heard, at), at + every
    return found


def both_speak(number: int) -> dict[int, int]:
    return {HUNG: number, OTHER: number}


def one_hangs(number: int) -> dict[int, int]:
    return {HUNG: 2, OTHER: 1000 + number}


def nobody_speaks(_: int) -> dict[int, int]:
    return {HUNG: 2, OTHER: 2}


def test_who_speaks_no_more_while_another_does_is_silent_for_as_long() -> None:
    assert looks((3, both_speak), (12, one_hangs)) == {HUNG: 12 * LOOK_SECONDS, OTHER: 0}


def test_nobody_is_silent_while_nobody_speaks_nor_when_the_first_one_does_again() -> None:
    assert max(looks((3, both_speak), (100, nobody_speaks)).values(), default=0) < 60
    assert looks((3, both_speak), (100, nobody_speaks), (2, one_hangs))[HUNG] < 60


def test_who_has_not_spoken_yet_is_not_silent_whatever_a_former_bearer_of_its_pid_said() -> None:
    assert looks((100, one_hangs)) == {OTHER: 0}
    assert looks((1, lambda _: {OTHER: 1}), (20, one_hangs))[HUNG] == 19 * LOOK_SECONDS  # its first word is a word


def test_a_sleep_between_two_looks_makes_nobody_silent() -> None:
    assert looks((3, both_speak), (3, one_hangs), every=3600) == {HUNG: 0, OTHER: 0}


def test_what_was_silent_before_the_database_was_away_counts_anew() -> None:
    hearing = Hearing(LOOK_SECONDS)
    for number in range(10):
        found = hearing.take({HUNG: NOON, OTHER: NOON + timedelta(minutes=number)} if number else {}, 5.0 * number)
    assert found[HUNG] == 40
    hearing.forget()
    assert hearing.take({HUNG: NOON, OTHER: NOON}, 50.0)[HUNG] == 0


@pytest.fixture
def children(harness: Harness) -> Iterator[list[Process]]:
    """Two that live and have spoken once."""
    made = [
        Process(Program(name=f"worker-{number}", argv=["/bin/sleep", "600"], silence_seconds=1, grace_seconds=1))
        for number in (1, 2)
    ]
    for each in made:
        each.launch()
    yield made
    for each in made:
        each.stop()
    harness.run("delete from evergrant.processes")


@pytest.mark.parametrize(("hangs", "ends_by"), [(True, signal.SIGKILL), (False, signal.SIGTERM)])
def test_a_child_that_is_silent_is_ended_by_force_only_where_it_hangs_and_the_others_live(
    harness: Harness, children: list[Process], hangs: bool, ends_by: int
) -> None:
    """It may be that somebody has locked its row alone: killed, it would lose the answers on their way to it."""
    hung, other = children
    host, pid = socket.gethostname(), hung.pid
    assert pid is not None
    if hangs:
        os.kill(pid, signal.SIGSTOP)
    with Silence(children, look_seconds=LOOK) as silence, capture_logs() as told:
        eventually(lambda: silence._hearing._known is not None)  # it looked before they spoke
        harness.run(SPEAKS, host=host, pid=other.pid)
        harness.run(SPEAKS, host="elsewhere", pid=pid)
        harness.run(SPEAKS, host=host, pid=pid)

        def killed() -> bool:
            harness.run(SPEAKS_AGAIN, pid=other.pid)
            silence.look()
            return not hung.alive()

        eventually(killed, every=LOOK)
        assert hung.exit_code == -ends_by
        assert other.alive()
        # Once more, where this machine was so busy that looks were far apart.
        assert {(each["event"], each["name"], each["pid"]) for each in told} == {("hangs", "worker-1", pid)}


def test_a_database_that_goes_away_is_told_once_and_kills_nobody(
    harness: Harness, children: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    del harness
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        url = f"postgresql://nobody@127.0.0.1:{nobody.getsockname()[1]}/none"
    monkeypatch.setattr(settings, "_current", [settings.Settings(database_url=SecretStr(url))])
    with Silence(children, look_seconds=LOOK) as silence, capture_logs() as told:
        silence._hanging = dict.fromkeys([each.pid or 0 for each in children], 99.0)

        def forgotten() -> bool:
            return not silence._hanging

        eventually(forgotten)
        silence.look()
        assert [each.alive() for each in children] == [True, True]
        assert [each["event"] for each in told] == ["silence.look_failed"]
    database.dispose()
