"""The short form of the model; the whole is `python -m tests.model`."""

import re

import pytest

from tests.model.__main__ import main
from tests.model.catalogue import MUTANTS, OPEN, WEATHERS
from tests.model.spin import MODEL, Broken, missing, read, search

BY_NAME = {each.name: each for each in (*MUTANTS, *OPEN)}
SOURCES = {path.name: path.read_text(encoding="utf-8") for path in MODEL.glob("*.pml")}
ENDED_WELL = """
State-vector 116 byte, depth reached 211, errors: 0
    67130 states, stored
  147.080	total actual memory usage
"""

needs_spin = pytest.mark.skipif(
    bool(missing()), reason=f"not found: {' and '.join(missing())}; see tests/model/spin.py"
)


@needs_spin
def test_where_reuse_kills_the_family_no_order_of_events_breaks_anything() -> None:
    found = search(WEATHERS["faults"].switches_at("family"))
    assert not found.violated, "\n".join(found.story)
    assert found.states > 50_000


@needs_spin
@pytest.mark.parametrize("name", ["no_lease_check", "a_lost_claim_leaves_its_journal_in_the_doubt"])
def test_a_wrong_design_is_found_and_the_way_to_it_told(name: str) -> None:
    mutant = BY_NAME[name]
    found = search(mutant.switches, progress=WEATHERS[mutant.weather].progress)
    assert found.violated == mutant.seen_by
    assert "worker 0 starts" in found.story


def test_without_spin_one_sentence_says_how_to_have_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert main(["--profile", "none"]) == 2
    told = capsys.readouterr()
    assert told.err.count("\n") == 1
    assert "spin and gcc not found" in told.err
    assert "apt-get install spin gcc" in told.err


@pytest.mark.parametrize("words", ["error: max search depth too small", "Warning: Search not completed"])
def test_a_search_that_was_cut_off_shows_nothing(words: str) -> None:
    assert read(ENDED_WELL, seconds=1.0).states == 67_130
    with pytest.raises(Broken, match="cut off"):
        read(words + ENDED_WELL, seconds=1.0)


def test_an_error_that_no_trail_tells_of_is_no_verdict() -> None:
    with pytest.raises(Broken, match="no trail"):
        read(ENDED_WELL.replace("errors: 0", "errors: 1"), seconds=1.0)
    with pytest.raises(Broken, match="did not end well"):
        read("pan: out of memory", seconds=1.0)


def test_each_wrong_design_is_a_switch_of_the_model_and_each_switch_is_tried() -> None:
    asked_for = set(re.findall(r"(?:MUTANT|OPEN)_[A-Z0-9_]+", "".join(SOURCES.values()))) - {"MUTANT_", "OPEN_"}
    assert asked_for == {f"{each.prefix}_{each.name.upper()}" for each in BY_NAME.values()}


def test_each_property_is_seen_to_be_violated_by_some_wrong_design() -> None:
    judged = {
        name
        for name, body in re.findall(r"inline (\w+)\([^)]*\) \{(.*?)\n\}", SOURCES["judge.pml"], re.DOTALL)
        if "assert(" in body
    }
    assert judged | {"gets_on"} == {each.seen_by for each in MUTANTS}
