"""The order in which a whole run begins its tests."""

from dataclasses import dataclass
from pathlib import Path

from tests.dear import DEAREST_FIRST, TESTS, dearest_first


@dataclass(frozen=True)
class Standing:
    path: Path
    name: str


def test_every_file_that_is_called_dear_is_there_and_named_once() -> None:
    assert [name for name in DEAREST_FIRST if not (TESTS / name).is_file()] == []
    assert len(set(DEAREST_FIRST)) == len(DEAREST_FIRST)


def test_dear_files_are_begun_first_and_whole_and_all_others_as_they_stood() -> None:
    dear, dearer = (TESTS / name for name in (DEAREST_FIRST[-1], DEAREST_FIRST[0]))
    cheap = TESTS / "unit" / "test_dear.py"
    given = [Standing(path, name) for path in (cheap, dear, dearer) for name in ("a", "b")]

    assert dearest_first(given) == [given[4], given[5], given[2], given[3], given[0], given[1]]
