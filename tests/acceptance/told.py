"""Webhooks are told of each change while senders are killed (-9): well, failing every fifth time, and hanging ones.

The test runs it with a few; with the numbers of the goal:

    python -m tests.acceptance.told --transitions 10000 --kills 5
"""

import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import click
from sqlalchemy import Engine

from models import database, event, operator_actions
from tests.acceptance.installation import Installation
from tests.acceptance.long_form import judged
from tests.acceptance.programs import Running
from tests.polling import eventually
from tests.receivers import OK, SECRET, Answer, Got, Receiver, receiving
from worker.embedded.engines import Engines

KINDS = ("grant.paused", "grant.resumed")
WELL_WITHIN = 1.0  # seconds from the commit, for 99 of 100, where the receiver is well
WRITERS = 2
GRANTS_EACH = 100


@dataclass(frozen=True)
class Told:
    """What one receiver was told."""

    name: str
    lost: int
    twice: int
    forged: int
    out_of_order: list[str]
    latencies: list[float] = field(repr=False)

    def at(self, share: float) -> float:
        """The latency, in seconds, that so many of all stayed below."""
        return self.latencies[min(int(len(self.latencies) * share), len(self.latencies) - 1)]


@dataclass(frozen=True)
class Report:
    """What every receiver was told of the changes."""

    transitions: int
    seconds: float
    kills: int
    receivers: list[Told]

    def faults(self) -> list[str]:
        """Name whatever is not as promised."""
        found = [
            f"{each.name}: {what}"
            for each in self.receivers
            for wrong, what in (
                (each.lost, f"{each.lost} were never delivered"),
                (each.forged, f"{each.forged} had a wrong signature"),
                (each.out_of_order, f"out of order: {each.out_of_order[:5]}"),
                (not self.kills and each.twice and each.name != "hangs", f"{each.twice} came twice"),
            )
            if wrong
        ]
        well = self.receivers[0]
        if well.latencies and well.at(0.99) > WELL_WITHIN:
            found.append(f"well: 99 of 100 came within {well.at(0.99):.2f} s of their commit only")
        return found

    def told(self) -> str:
        """What was seen, in lines."""
        lines = [f"{self.transitions} transitions in {self.seconds:.0f} s, {self.kills} senders killed"]
        lines += [
            f"{each.name}: {len(each.latencies)} delivered, {each.lost} lost, {each.twice} more than once, "
            f"p50 {each.at(0.5) * 1000:.0f} ms, p99 {each.at(0.99) * 1000:.0f} ms from the commit"
            for each in self.receivers
            if each.latencies
        ]
        return "\n".join(lines)


@dataclass
class Writer:
    """Pauses and resumes grants of its own, a transaction each, and notes when each was committed."""

    engine: Engine
    ids: Sequence[UUID]
    transitions: int
    every: float
    committed: dict[UUID, list[float]] = field(default_factory=lambda: defaultdict(list))

    def run(self) -> None:
        begun = time.monotonic()
        for n in range(self.transitions):
            grant_id = self.ids[n % len(self.ids)]
            act = (operator_actions.resume_grants, operator_actions.pause_grants)[n // len(self.ids) % 2]
            with self.engine.begin() as connection:
                assert act(connection, [grant_id], who="tests") == {grant_id}
            self.committed[grant_id].append(time.time())
            time.sleep(max(0.0, begun + (n + 1) * self.every - time.monotonic()))  # the rate is what is asked for


def of_every(n: int, answer: Answer) -> Callable[[Got], Answer]:
    """Every n-th request gets this answer."""
    numbers = count(1)
    return lambda _: answer if next(numbers) % n == 0 else OK


def tell(installation: Installation, *, transitions: int, kills: int, rate: float, workers: int = 2) -> Report:
    """Let things happen at `rate` a second, kill senders meanwhile, and compare what was told with what happened."""
    let_go = threading.Event()

    def hang(_: Got) -> Answer:
        let_go.wait(300)
        return OK

    with ExitStack() as stack:
        receivers = {
            "well": stack.enter_context(receiving()),
            "fails every fifth": stack.enter_context(receiving(of_every(5, (500, {}, b"")))),
            "hangs": stack.enter_context(receiving(hang)),
        }
        stack.callback(let_go.set)
        ids = _grants(installation)
        for receiver in receivers.values():
            _add(installation, receiver)
        running = [installation.worker() for _ in range(workers)]
        begun = time.monotonic()
        engine = database.connect(installation.database_url)
        stack.callback(engine.dispose)
        writers = [
            Writer(engine, ids[n * GRANTS_EACH : (n + 1) * GRANTS_EACH], transitions // WRITERS, WRITERS / rate)
            for n in range(WRITERS)
        ]
        _write(installation, writers, running, kills)
        seconds = time.monotonic() - begun
        committed = {grant: times for writer in writers for grant, times in writer.committed.items()}
        eventually(lambda: len(_ids(receivers["well"])) == transitions, timeout=60)
        let_go.set()
        for receiver in receivers.values():
            _until_told(installation, receiver, transitions)
        happened = _happened(installation)
        told = [_judged(name, receiver, happened, committed) for name, receiver in receivers.items()]
    return Report(transitions, seconds, kills, told)


def _grants(installation: Installation) -> list[UUID]:
    options = ["--provider", "simulator", "--client-id", "app", "--token-url", "http://127.0.0.1:9/token"]
    installation.register("app", options, "hush")
    rows = [{"ref": f"customer-{n}", "refresh_token": f"rt-{n}"} for n in range(WRITERS * GRANTS_EACH)]
    lines = "".join(f'{{"ref": "{row["ref"]}", "refresh_token": "{row["refresh_token"]}"}}\n' for row in rows)
    installation.command("grants", "import", "-", "--client", "app", "--paused", stdin=lines)
    return [row["id"] for row in installation.rows("select id from evergrant.grants order by id")]


def _add(installation: Installation, receiver: Receiver) -> None:
    types = [option for kind in KINDS for option in ("--type", kind)]
    installation.command("webhooks", "add", receiver.url, "--secret-file", "-", "--allow-private", *types, stdin=SECRET)


def _write(installation: Installation, writers: Sequence[Writer], running: list[Running], kills: int) -> None:
    """Write everything, with the kills spread over it."""
    transitions = sum(writer.transitions for writer in writers)
    threads = [threading.Thread(target=writer.run) for writer in writers]
    for thread in threads:
        thread.start()
    for n in range(kills):
        so_many = transitions * (n + 1) // (kills + 1)
        eventually(lambda so_many=so_many: _so_far(writers) >= so_many, timeout=600, every=0.01)  # type: ignore[misc]
        running.pop(0).kill()
        running.append(installation.worker())
    for thread in threads:
        thread.join(600)


def _until_told(installation: Installation, receiver: Receiver, transitions: int) -> None:
    """Until all is there; of thousands some are refused six times in a row, and nobody waits for their half hour."""

    def hurried() -> bool:
        installation.rows("update evergrant.webhooks set retry_at = null where retry_at > now() + interval '5 s'")
        installation.rows(
            """update evergrant.webhook_deliveries set try_at = now()
            where ended_at is null and leased_until is null and try_at > now() + interval '5 s'"""
        )
        return len(_ids(receiver)) == transitions

    eventually(hurried, timeout=300, every=1)


def _so_far(writers: Sequence[Writer]) -> int:
    with suppress(RuntimeError):  # a dictionary that grew meanwhile: the next look tells
        return sum(len(times) for writer in writers for times in writer.committed.values())
    return 0


def _ids(receiver: Receiver) -> set[str]:
    return {each["id"] for each in receiver.taken}


def _happened(installation: Installation) -> dict[str, tuple[UUID, int]]:
    """Of each event that is told, by its id: whose it is, and the how manieth."""
    statement = "select id, occurred_at, grant_id from evergrant.events where type = any (%s) order by id"
    numbers: Counter[UUID] = Counter()
    found = {}
    for row in installation.rows(statement, [list(KINDS)]):
        found[event.told_id(row["id"], row["occurred_at"])] = (row["grant_id"], numbers[row["grant_id"]])
        numbers[row["grant_id"]] += 1
    return found


def _judged(
    name: str, receiver: Receiver, happened: dict[str, tuple[UUID, int]], committed: dict[UUID, list[float]]
) -> Told:
    first: dict[str, Got] = {}
    for got in receiver.got:
        if got.verdict == "verified" and got.status in range(200, 300):
            first.setdefault(got.body["id"], got)
    of_grant: dict[UUID, list[int]] = defaultdict(list)
    latencies = []
    for number, got in first.items():
        grant, nth = happened[number]
        of_grant[grant].append(nth)
        latencies.append(max(0.0, got.at - committed[grant][nth]))
    taken: list[dict[str, Any]] = receiver.taken
    return Told(
        name=name,
        lost=len(happened.keys() - first.keys()),
        twice=len(taken) - len(first),
        forged=sum(got.verdict != "verified" for got in receiver.got),
        out_of_order=[str(grant) for grant, order in of_grant.items() if order != sorted(order)],
        latencies=sorted(latencies),
    )


@click.command()
@click.option("--transitions", default=10_000, show_default=True)
@click.option("--kills", default=5, show_default=True, help="Of workers, spread over them.")
@click.option("--rate", default=100.0, show_default=True, help="Transitions a second.")
@click.option("--workers", default=2, show_default=True, help="That send.")
def main(*, transitions: int, kills: int, rate: float, workers: int) -> None:
    """Tell three receivers of everything under kill -9."""
    folder = Path(tempfile.mkdtemp(prefix="evergrant-told-"))
    click.echo(f"logs: {folder}")
    with ExitStack() as running:
        engines = running.enter_context(Engines(folder / "engines"))
        urls = {"database_url": engines.database_url or "", "broker_url": engines.broker_url or ""}
        installation = Installation.made(folder / "installation", **urls)
        running.callback(installation.close)
        report = tell(installation, transitions=transitions, kills=kills, rate=rate, workers=workers)
    judged(report.told(), report.faults())


if __name__ == "__main__":
    main()
