"""The short form of the traces; the whole is `python -m tests.model.traces`."""

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.model.spin import MODEL, missing
from tests.model.traces.__main__ import MUTANTS, main
from tests.model.traces.collected import Collected, of_simulation
from tests.model.traces.event import ANYBODY, NOBODY, Event, Trace, What
from tests.model.traces.forged import KINDS, forged
from tests.model.traces.search import Follower, following
from tests.simulation.mutants import MUTANTS as WRONG_DESIGNS

PROFILE = "immediate"
OBSERVER = (MODEL / "trace.pml").read_text(encoding="utf-8")

needs_spin = pytest.mark.skipif(
    bool(missing()), reason=f"not found: {' and '.join(missing())}; see tests/model/spin.py"
)


def _story(*steps: tuple[What, dict[str, int]], profile: str = "on_use") -> Trace:
    """A trace in which each event changes of the row what is named, and leaves the rest as it was."""
    row = dict.fromkeys(("claim_no", "generation", "pair", "status", "claimed", "started", "doubt", "suspect"), 0)
    events = []
    for what, told in steps:
        row |= {name: value for name, value in told.items() if name in row}
        more = {name: value for name, value in told.items() if name not in row}
        events.append(Event(what=what, **row, **more))
    return Trace(profile, 0, tuple(events))


def _asked(who: int, claim_no: int, *, token: int = ANYBODY, **row: int) -> Iterator[tuple[What, dict[str, int]]]:
    """A claim, a start and a request from the first generation."""
    mine = {"who": who, "attempt": claim_no + 1}
    yield What.CLAIMED, {"claim_no": claim_no, "claimed": 1}
    yield What.STARTED, {"claim_no": claim_no + 1, "claimed": 0, "started": 1, **mine, **row}
    yield What.SENDS, {**mine, "token": token}


# Worker 0 is frozen with its answer until worker 1 has repeated the request and stored another.
LATE = _story(
    *_asked(0, 1, token=0),
    (What.LAPSED, {}),
    *_asked(1, 3, token=0, doubt=1),
    (What.JOURNALED, {"who": 1, "which": 2}),
    (What.STORED, {"which": 2, "claim_no": 5, "generation": 1, "pair": 2, "started": 0, "doubt": 0}),
    (What.MARKED, {"who": 1, "which": 2}),
    (What.JOURNALED, {"who": 0, "which": 1}),
    (What.SURPLUS, {"which": 1}),
    (What.MARKED, {"who": 0, "which": 1}),
)
# Worker 0 is killed with its answer on the platter; who shares its disk stores it.
REPLAYED = _story(
    *_asked(0, 1, token=0),
    (What.JOURNALED, {"who": 0, "which": 1}),
    (What.KILLED, {"who": 0}),
    (What.STORED, {"which": 1, "claim_no": 3, "generation": 1, "pair": 1, "started": 0}),
    (What.DRAINED, {}),
    profile=PROFILE,
)
TWICE = _story(
    *_asked(0, 1, token=0),
    (What.JOURNALED, {"who": 0, "which": 1}),
    (What.STORED, {"which": 1, "claim_no": 3, "generation": 1, "pair": 1, "started": 0}),
    (What.MARKED, {"who": 0, "which": 1}),
    (What.CLAIMED, {"claim_no": 4, "claimed": 1}),
    (What.STARTED, {"who": 1, "claim_no": 5, "attempt": 5, "asks_from": 1, "claimed": 0, "started": 1}),
    (What.SENDS, {"who": 1, "attempt": 5, "asks_from": 1, "token": 1}),
    (What.JOURNALED, {"who": 1, "which": 2}),
    (What.STORED, {"which": 2, "claim_no": 6, "generation": 2, "pair": 2, "started": 0}),
)
REFUSED = _story(
    *_asked(0, 1, token=0),
    (What.ENDED, {"who": 0, "started": 0, "suspect": 1}),
    profile=PROFILE,
)
HONEST = (LATE, REPLAYED, TWICE, REFUSED)


@pytest.fixture(scope="module")
def seen() -> Collected:
    (found,) = of_simulation([PROFILE], "short", episodes=1, refreshes=60, processes=1)
    return found


@pytest.fixture(scope="module")
def followers() -> Iterator[dict[str, Follower]]:
    with following(PROFILE) as one, following("on_use") as other:
        yield {PROFILE: one, "on_use": other}


@pytest.fixture(scope="module")
def follower(followers: dict[str, Follower]) -> Follower:
    return followers[PROFILE]


@needs_spin
def test_the_model_can_do_what_the_simulation_was_seen_to_do(seen: Collected, follower: Follower) -> None:
    assert len(seen.windows) > 10
    assert seen.odd > 5
    for each in follower.follow(list(seen.windows)):
        assert each.is_accepted, "\n".join(each.story())


@needs_spin
@pytest.mark.parametrize("name", KINDS)
def test_a_trace_that_was_made_wrong_is_refused(name: str, followers: dict[str, Follower]) -> None:
    made = 0
    for honest in HONEST:
        wrong = list(forged(KINDS[name], iter([honest])))
        first, *others = followers[honest.profile].follow([honest, *wrong])
        assert first.is_accepted, "\n".join(first.story())
        assert not [each for each in others if each.is_accepted]
        made += len(wrong)
    assert made


@needs_spin
def test_the_event_that_the_model_cannot_do_is_named(follower: Follower) -> None:
    number = REPLAYED.events[-2].generation + 1
    wrong = replace(REPLAYED, events=(*REPLAYED.events[:-2], replace(REPLAYED.events[-2], generation=number)))
    (found,) = follower.follow([wrong])
    assert found.events == len(wrong.events) - 1
    assert list(found.story())[-1].endswith("pair 1 is stored (claim 3, generation 2, pair 1)  <- refused")


@needs_spin
def test_a_wrong_design_is_seen_in_the_traces_of_its_simulation(follower: Follower) -> None:
    (found,) = of_simulation([PROFILE], "short", episodes=1, refreshes=40, processes=1, mutant="not_journaled")
    refused = [each for each in follower.follow(list(found.windows)) if not each.is_accepted]
    assert {each.trace.events[each.events].what for each in refused} == {What.STORED}


def test_events_have_the_numbers_that_the_model_has_for_them() -> None:
    told = {name: int(number) for name, number in re.findall(r"#define (\w+) (\d+)", OBSERVER)}
    assert told == {**{what.name: what.value for what in What}, "ANYBODY": ANYBODY}
    assert NOBODY == ANYBODY == int(re.search(r"#define NOBODY (\d+)", _main())[1])  # type: ignore[index]


def _main() -> str:
    return (MODEL / "evergrant.pml").read_text(encoding="utf-8")


def test_every_event_is_one_that_a_step_of_the_model_shows() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in MODEL.glob("*.pml"))
    assert set(re.findall(r"\bsee\((\w+),", sources)) - {"what"} == {what.name for what in What}


def test_each_wrong_design_is_one_of_the_simulations() -> None:
    assert set(MUTANTS) <= set(WRONG_DESIGNS)


def test_without_spin_one_sentence_says_how_to_have_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert main([]) == 2
    told = capsys.readouterr()
    assert told.err.count("\n") == 1
    assert "spin and gcc not found" in told.err
    assert not told.out
