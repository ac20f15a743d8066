"""Names: what a journal's folders and files are called; whatever is called otherwise is nobody's of us, and left alone.

journals/7/            a journal, by its number
    lock               whoever holds it, holds the journal; `lock.123` while process 123 makes it
    00000001.log       a segment's records      00000001.key   its sealed key
    00000001.gone      records that are being shredded, their key first
    drained            all of it is settled
"""

import os
import re
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

LOCK = "lock"
DRAINED = "drained"
RECORDS = "log"
KEY = "key"
GONE = "gone"

_JOURNAL = re.compile(r"[1-9][0-9]{0,14}")  # more digits no register gives: one above them all would have no number
_SEGMENT = re.compile(r"([0-9]{8}|[1-9][0-9]{8,14})\.(log|key|gone)")
_OTHERS = re.compile(rf"{LOCK}(\.[0-9]+)?|{DRAINED}")

_told: set[Path] = set()


def journals_in(folder: Path) -> list[int]:
    """The numbers of the journals that lie in a folder, in order."""
    if not folder.is_dir():
        return []
    return sorted(int(name) for name in _names_in(folder) if _JOURNAL.fullmatch(name) and (folder / name).is_dir())


def segments_in(folder: Path, kind: str = RECORDS) -> list[int]:
    """The numbers of a journal's segments, the oldest first, by one kind of their files."""
    found = map(_SEGMENT.fullmatch, _names_in(folder))
    return sorted(int(each[1]) for each in found if each and each[2] == kind)


def last_segment(folder: Path) -> int:
    """The highest number that any file of a segment has, 0: none."""
    found = map(_SEGMENT.fullmatch, _names_in(folder))
    return max((int(each[1]) for each in found if each), default=0)


def path_of(folder: Path, number: int, kind: str) -> Path:
    """Where a file of a segment lies."""
    return folder / f"{number:08}.{kind}"


def tell_strange(folder: Path) -> None:
    """Tell of what lies among the journals and is none, once in the life of this process."""
    strange = [path for path in _strange(folder) if path not in _told]
    if strange:
        _told.update(strange)
        log.warning(
            "journal.strange_files",
            folder=str(folder),
            names=[str(path.relative_to(folder)) for path in strange[:10]],
            count=len(strange),
            remedy="they are no journal's, and are left alone: move them away",
        )


def _strange(folder: Path) -> list[Path]:
    """Whatever is not called as ours is; a folder without a lock is called so by somebody else."""
    if not folder.is_dir():
        return []
    strange: list[Path] = []
    for path in folder.iterdir():
        if not (_JOURNAL.fullmatch(path.name) and path.is_dir() and (path / LOCK).exists()):
            strange.append(path)
            continue
        names = (name for name in _names_in(path) if not _SEGMENT.fullmatch(name))
        strange += [path / name for name in names if not _OTHERS.fullmatch(name)]
    return sorted(strange)


def _names_in(folder: Path) -> list[str]:
    return os.listdir(folder)  # noqa: PTH208  # a path for each of some hundred segments costs ten times as much
