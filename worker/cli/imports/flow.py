"""The flow of an import: lines become portions, and one is read and sealed while the one before it is stored."""

import gc
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from operator import attrgetter
from typing import BinaryIO, Self

from tasks.oauth import addresses
from tasks.oauth.errors import AddressError
from tasks.oauth.provider import Provider
from worker.cli.imports.batches import Intake, Taken, Tally, Unread, note
from worker.cli.imports.lines import Bad, Offered, lines
from worker.cli.imports.probe import Sieve
from worker.cli.imports.repeats import Repeats

PORTION = 5000
PORTION_BYTES = 4 * 1024 * 1024
PORTION_PROBED = 20  # each takes a slot of the client's rate: what was paid for is stored soon


@dataclass(slots=True)
class Portion:
    """Some lines of a file; `read`: the bytes of the file up to their end."""

    good: list[Offered] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)
    read: int = 0
    unread: Unread = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Passed:
    """What can be told once a portion is stored: how many bytes were read for it, and its bad lines in order."""

    read: int
    bad: list[Bad]


def portions(source: BinaryIO, size: int, provider: Provider) -> Iterator[Portion]:
    """Cut a file into portions; what stands twice in it is bad from the second time on."""
    repeats, portion, begun = Repeats(), Portion(), 0
    for _, portion.read, found in lines(source, provider.kind):
        fault = unaddressed(found, provider) or repeats.fault(found) if isinstance(found, Offered) else found
        if fault is not None:
            portion.bad.append(fault)
        elif isinstance(found, Offered):
            portion.good.append(found)
            note(portion.unread, dict.fromkeys(found.unread, (1, found.line)))
        if len(portion.good) + len(portion.bad) >= size or portion.read - begun >= PORTION_BYTES:
            yield portion
            begun = portion.read
            portion = Portion(read=begun)
    if portion.good or portion.bad:
        yield portion


def unaddressed(offered: Offered, provider: Provider) -> Bad | None:
    """A line whose labels make no address to refresh its grant at: nothing could ever be sent for it."""
    try:
        addresses.check(provider, offered.labels, fields=("refresh_url" if provider.refresh_url else "token_url",))
    except AddressError as error:
        return Bad(offered.line, error.fault, offered.ref)
    return None


def flow(source: BinaryIO, intake: Intake, tally: Tally) -> Generator[Passed]:
    """Read, check and store everything; left early, it first ends what it has begun to store, and counts it."""
    with _Storing(intake, tally) as storing:
        for portion in portions(source, PORTION, intake.provider):
            note(tally.unread, portion.unread)
            yield from storing.put(portion)
        yield from storing.end()


def flow_probed(source: BinaryIO, intake: Intake, tally: Tally, sieve: Sieve) -> Generator[Passed]:
    """Read and check everything, and store what lives, a few lines at a time.

    Raises:
        Failure: the provider must not be asked on; what was found to live before is stored.

    """
    for portion in portions(source, PORTION_PROBED, intake.provider):
        note(tally.unread, portion.unread)
        sifted = sieve.sift(portion.good, intake.wanted(portion.good))
        bad = sifted.bad + portion.bad
        tally.counts["bad"] += len(bad)
        bad += intake.take(sifted.kept, tally)
        if sifted.refreshed is not None:
            bad += sieve.keep(sifted.refreshed, intake, tally)
        yield Passed(portion.read, _in_order(bad))
        if sifted.stop is not None:
            raise sifted.stop


class _Storing:
    """A thread that stores one portion at a time; what is begun is ended and counted, whatever ends the import."""

    def __init__(self, intake: Intake, tally: Tally) -> None:
        self.intake = intake
        self.tally = tally
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="import")
        self._under_way: tuple[Portion, Future[Taken]] | None = None

    def __enter__(self) -> Self:
        gc.freeze()  # what is loaded stays: searched for garbage again and again, it cost a tenth of the time
        return self

    def __exit__(self, *_: object) -> None:
        gc.unfreeze()
        self._thread.shutdown()
        if self._under_way is not None and self._under_way[1].exception() is None:
            self.tally.add(self._under_way[1].result())

    def put(self, portion: Portion) -> Generator[Passed]:
        """Seal a portion, and begin to store it once the one before it is stored; tells of that one."""
        batch = self.intake.sealed(portion.good)
        yield from self.end()
        self._under_way = portion, self._thread.submit(self.intake.store, batch)

    def end(self) -> Generator[Passed]:
        """Wait until what is under way is stored, and tell of it.

        Raises:
            OperationalError: the database is away.

        """
        if self._under_way is None:
            return
        portion, future = self._under_way
        taken = future.result()
        self._under_way = None
        self.tally.counts["bad"] += len(portion.bad)
        yield Passed(portion.read, _in_order(portion.bad + self.tally.add(taken)))


def _in_order(bad: list[Bad]) -> list[Bad]:
    return sorted(bad, key=attrgetter("line"))
