"""Replay of one journal: settle what it still holds, by the caller's own rule, and mark it."""

from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import structlog

from models.sealing.vault import KeyMissing, Vault
from tasks.journal.entry import Kept, Position
from tasks.journal.errors import JournalHeld, JournalUnknown
from tasks.journal.journal import Journal
from tasks.journal.left_behind import LeftBehind, left_behind, take_over
from tasks.journal.names import tell_strange
from tasks.journal.segment import reason_of

log = structlog.get_logger(__name__)

GROUP = 50

# Settles a group of entries, each grant at most once in it, and gives the positions that are done with.
Settle = Callable[[Sequence[Kept]], Collection[Position]]


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay did with one journal.

    `missing_key` names the ring key for want of which it did nothing, `damage` says what of it could not be read.
    """

    journal_id: int
    settled: int
    left: int
    missing_key: str | None = None
    damage: str | None = None

    @property
    def drained(self) -> bool:
        """Whether it was read to its end and nothing is left in it."""
        return self.left == 0 and self.damage is None


def replay(journal: Journal, settle: Settle, *, everything: bool = False, group: int = GROUP) -> Replayed:
    """Hand a journal's entries to `settle` in order of generation; `everything`: the settled ones too.

    Raises:
        KeyMissing: the ring lacks the key of a segment.

    """
    settled = left = 0
    for kept in grouped(journal.entries() if everything else journal.unsettled(), group):
        done = set(settle(kept))
        journal.mark_settled([item.position for item in kept if not item.settled and item.position in done])
        settled += len(done)
        left += sum(item.position not in done for item in kept)
    return Replayed(journal.journal_id, settled, left, damage=journal.damage)


def grouped(items: Iterable[Kept], size: int) -> Iterator[list[Kept]]:
    """Groups in the given order that hold a grant at most once: its later generations build on the earlier."""
    group: list[Kept] = []
    grants: set[str] = set()
    for item in items:
        if len(group) >= size or item.entry.grant_id in grants:
            yield group
            group, grants = [], set()
        group.append(item)
        grants.add(item.entry.grant_id)
    if group:
        yield group


def drain_held(
    folder: Path,
    settle: Settle,
    record_drained: Callable[[int], None],
    *,
    vault: Vault,
    everything: bool = False,
    known: Container[int] = (),
) -> list[Replayed]:
    """Drain every journal on this disk whose process is gone; one that fails keeps no other from being drained.

    `record_drained` writes the register, before the journal itself is marked. `everything`, after a restore: the
    journals that are marked drained as well, and their settled entries. `known`: those that were damaged at the last
    look, of which no more is told than what has changed.
    """
    tell_strange(folder)
    results: list[Replayed] = []
    for found in left_behind(folder):
        if everything or not found.drained:
            try:
                opened = _opened(folder, found, vault, quiet=found.journal_id in known)
                if isinstance(opened, Replayed):
                    results.append(opened)
                    continue
                with closing(opened) as journal:
                    results.append(_drain(journal, settle, record_drained, everything=everything))
            except (JournalHeld, JournalUnknown):
                continue
            except Exception:
                log.exception("journal.drain_failed", journal_id=found.journal_id)
    return results


def _opened(folder: Path, found: LeftBehind, vault: Vault, *, quiet: bool) -> Journal | Replayed:
    """Take a journal over, or say why nobody here can.

    Raises:
        JournalHeld, JournalUnknown: somebody else did.

    """
    if found.shut is not None:
        return _shut(found, found.shut)
    try:
        return take_over(folder, found.journal_id, vault=vault, quiet=quiet)
    except KeyMissing as error:
        if not quiet:
            log.error("journal.key_missing", journal_id=found.journal_id, key_id=error.key_id)  # noqa: TRY400
        told = f"the key ring of refresh tokens lacks {error.key_id}"
        return Replayed(found.journal_id, settled=0, left=0, missing_key=error.key_id, damage=told)
    except OSError as error:
        return _shut(found, reason_of(error))


def _shut(found: LeftBehind, reason: str) -> Replayed:
    return Replayed(found.journal_id, settled=0, left=0, damage=f"it cannot be opened: {reason}")


def _drain(journal: Journal, settle: Settle, record_drained: Callable[[int], None], *, everything: bool) -> Replayed:
    result = replay(journal, settle, everything=everything)
    if result.drained:
        record_drained(journal.journal_id)
        journal.close(drained=True)
    return result
