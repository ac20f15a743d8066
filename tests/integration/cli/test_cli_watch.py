"""`evergrant status --watch` on a real terminal: it fits, it shows what comes, and it leaves the terminal as it was."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, text

import settings
from tests.integration.cli.evergrant import Evergrant, environment_of
from tests.polling import eventually
from tests.terminal import CTRL_C, Terminal, on_terminal
from worker.cli.watching import Renewals

ANOTHER_SCREEN, BACK = b"\x1b[?1049h", b"\x1b[?1049l"
RENEW = """
with renewed as (
    update evergrant.grants set generation = generation + 1, access_expires_at = clock_timestamp() + interval '2 hours'
    where ref = :ref returning id
)
select pg_notify('evergrant_token_set', id::text) from renewed
"""

END_THE_OTHERS = """
select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname = current_database()
"""


@contextmanager
def watching(found: settings.Settings, *options: str, columns: int = 80, rows: int = 24) -> Iterator[Terminal]:
    argv = [sys.executable, "-m", "worker.cli", "status", "--watch", *options]
    with on_terminal(argv, env=environment_of(found), columns=columns, rows=rows) as terminal:
        terminal.wait_for("Evergrant", "since")
        yield terminal


@pytest.fixture
def fleet(temple: Evergrant) -> Evergrant:
    """Far more than fits: twenty clients, sixty grants, and much that needs somebody."""
    for number in range(20):
        add = f"clients add other-{number} --provider event-temple --client-id id --client-secret-file -"
        assert temple(*add.split(), stdin="hush").code == 0
        assert temple("clients", "pause", f"other-{number}").code == 0
    temple.take_in(*(f"customer-{number}" for number in range(60)))
    return temple


@pytest.mark.usefixtures("fleet")
@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (140, 40), (60, 12), (200, 60)])
def test_it_fits_and_says_what_it_left_out(adopted: settings.Settings, columns: int, rows: int) -> None:
    with watching(adopted, columns=columns, rows=rows) as terminal:
        terminal.wait_for("more: evergrant status", "Renewed  0 since")
        seen = terminal.lines
        terminal.press(CTRL_C)
        assert terminal.end() == 0
    assert seen[0].startswith("Evergrant"), "the page has run over the upper end"
    if rows > 20:
        assert "grant.imported  customer-9 and 59 more of temple" in "\n".join(seen)
    assert any(line.startswith("CLIENT") for line in seen)
    assert sum(not line for line in seen) <= 8, "room is left that nothing makes use of"


@pytest.mark.usefixtures("fleet")
def test_another_size_of_the_terminal_is_heeded_at_once(adopted: settings.Settings) -> None:
    with watching(adopted, "--interval", "60s", columns=140, rows=40) as terminal:
        terminal.wait_for("REASON")
        terminal.resize(70, 14)
        terminal.wait_for("Evergrant  test", "… 20 more: evergrant status")
        assert terminal.lines[0].startswith("Evergrant")
        terminal.resize(140, 40)
        terminal.wait_for("REASON")


def test_renewals_are_shown_as_they_come(temple: Evergrant, adopted: settings.Settings, sql: Any) -> None:
    temple.take_in("customer-1", "customer-2")
    with watching(adopted, "--interval", "60s") as terminal:
        terminal.wait_for("Renewed  0 since")
        sql(RENEW, ref="customer-2")
        terminal.wait_for("Renewed  1 since", "customer-2 of temple, generation 2, lives 1h 59m")
        sql(RENEW, ref="customer-1")
        sql(RENEW, ref="customer-2")
        terminal.wait_for("Renewed  3 since", "customer-1 of temple", "customer-2 of temple, generation 3")


@pytest.mark.usefixtures("temple")
@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM", "SIGHUP"])
def test_however_it_is_ended_the_terminal_is_as_it_was(adopted: settings.Settings, how: str) -> None:
    with watching(adopted) as terminal:
        if how == "Ctrl-C":
            terminal.press(CTRL_C)
        else:
            os.kill(terminal.pid, signal.Signals[how])
        code = terminal.end()
        assert terminal.cursor_is_shown
    assert code == {"Ctrl-C": 0, "SIGTERM": 143, "SIGHUP": 129}[how]
    assert terminal.raw.startswith(ANOTHER_SCREEN)
    before, _, after = terminal.raw.rpartition(BACK)
    assert BACK not in before
    assert after.strip() == b"", "something was written where the shell goes on"


def test_a_database_that_is_away_is_told_and_waited_for(
    temple: Evergrant, adopted: settings.Settings, sql: Any
) -> None:
    temple.take_in("customer-1")
    with watching(adopted, "--interval", "0.2s") as terminal:
        terminal.wait_for("Renewed  0 since")
        sql(END_THE_OTHERS)
        sql(RENEW, ref="customer-1")
        for _ in terminal.watch(1):
            pass
        sql(RENEW, ref="customer-1")
        terminal.wait_for("customer-1 of temple, generation 3")


def test_a_renewal_that_cannot_be_read_just_now_ends_no_watch(
    temple: Evergrant, adopted: settings.Settings, sql: Any, database: Engine
) -> None:
    assert settings.current() is adopted
    temple.take_in("customer-1")
    with closing(Renewals()) as renewals:
        assert not renewals.hear(0)
        sql(RENEW, ref="customer-1")
        with database.begin() as somebody:
            somebody.execute(text("lock table evergrant.grants"))
            assert not renewals.hear(1)
        assert renewals.count == 1
        assert not renewals.hear(0)  # listens anew
        sql(RENEW, ref="customer-1")
        eventually(lambda: renewals.hear(0.1))
    assert (renewals.count, [each["ref"] for each in renewals.last]) == (2, ["customer-1"])


def test_one_connection_in_the_pool_is_enough(temple: Evergrant, adopted: settings.Settings, sql: Any) -> None:
    temple.take_in("customer-1")
    with watching(adopted.model_copy(update={"database_pool": 1})) as terminal:
        terminal.wait_for("Renewed  0 since")
        sql(RENEW, ref="customer-1")
        terminal.wait_for("Renewed  1 since", "customer-1 of temple, generation 2")
