"""Which rotation profile a provider has: a model of each one is asked, and nothing that is unclear passes for clear."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product

import pytest

from tasks.policy.rotation import RotationFinding, Seen, Step, next_step

LONGEST = 8


@dataclass
class Model:
    """A provider in a few lines; every step takes a second, REPEAT_LATE ten."""

    profile: str
    grace: float = 30.0
    punishes: bool = False
    now: float = 0.0
    newest: int = 0
    spent_at: dict[int, float] = field(default_factory=dict)
    successors: dict[int, int] = field(default_factory=dict)
    dead: set[int] = field(default_factory=set)
    held: int = 0
    sent: list[int] = field(default_factory=list)  # what the row held, and was refreshed

    def do(self, step: Step) -> Seen:
        self.now += 10 if step is Step.REPEAT_LATE else 1
        match step:
            case Step.REPEAT | Step.REPEAT_AFTER_USE | Step.REPEAT_AFTER_REFRESH:
                return self._refresh(0)
            case Step.REFRESH | Step.TRY_SUCCESSOR | Step.REFRESH_SUCCESSOR | Step.TRY_AFTER_REFUSAL:
                return self._present()
            case Step.REPEAT_LATE:
                return self._refresh(self.sent[-1])
            case Step.USE:
                return self._use(1)
            case Step.USE_LAST:
                return self._use(self.newest)

    def _present(self) -> Seen:
        """Refresh what the row holds: what the last such refresh brought."""
        self.sent.append(self.held)
        seen = self._refresh(self.held)
        if seen is Seen.ROTATED:
            self.held = self.newest
        return seen

    def _refresh(self, token: int) -> Seen:
        if self.profile == "none":
            return Seen.KEPT
        if token in self.dead or self._is_over(token):
            if self.profile == "family" or self.punishes:
                self.dead |= set(range(self.newest + 1))
            return Seen.REFUSED
        self.newest += 1
        self.successors[self.newest] = token
        self.spent_at.setdefault(token, self.now)
        if self.profile == "until_next_refresh" and token in self.successors:
            self.dead.add(self.successors[token])
        if self.profile in ("immediate", "family"):
            self.dead.add(token)
        return Seen.ROTATED

    def _is_over(self, token: int) -> bool:
        spent_at = self.spent_at.get(token)
        return self.profile == "grace" and spent_at is not None and self.now - spent_at > self.grace

    def _use(self, token: int) -> Seen:
        if self.profile == "on_use":
            self.dead.add(self.successors[token])
        return Seen.USED


def found(act: Callable[[Step], Seen]) -> tuple[RotationFinding, list[Step]]:
    seen: list[Seen] = []
    steps: list[Step] = []
    while isinstance(step := next_step(seen), Step):
        steps.append(step)
        seen.append(act(step))
        assert len(steps) <= LONGEST
    return step, steps


@pytest.mark.parametrize("profile", ["none", "on_use", "until_next_refresh", "grace", "immediate", "family"])
def test_each_profile_is_recognised(profile: str) -> None:
    assert found(Model(profile).do)[0] == profile


@pytest.mark.parametrize("punishes", [False, True])
@pytest.mark.parametrize("grace", [1.5, 2.5, 3.5, 6.0])
def test_a_grace_that_ends_while_it_is_looked_at_does_not_pass_for_on_use(grace: float, *, punishes: bool) -> None:
    assert found(Model("grace", grace=grace, punishes=punishes).do)[0] is RotationFinding.GRACE


def test_on_use_is_left_with_no_old_pair_alive_unseen() -> None:
    model = Model("on_use")
    _, steps = found(model.do)
    assert steps[-1] is Step.USE_LAST
    assert {0, 1} <= model.dead


def test_a_spent_token_is_never_sent_again_after_it_was_refused() -> None:
    for profile in ("immediate", "family"):
        assert found(Model(profile).do)[1] == [Step.REFRESH, Step.REPEAT, Step.TRY_SUCCESSOR]


def test_without_an_address_on_use_and_grace_are_not_told_apart() -> None:
    model = Model("on_use")
    finding, _ = found(lambda step: Seen.NO_ADDRESS if step is Step.USE else model.do(step))
    assert finding is RotationFinding.ON_USE_OR_GRACE


def test_a_use_that_was_perhaps_none_proves_no_grace() -> None:
    model = Model("grace")
    finding, _ = found(lambda step: Seen.UNTOLD if step is Step.USE else model.do(step))
    assert finding is RotationFinding.ON_USE_OR_GRACE


@pytest.mark.parametrize("profile", ["none", "on_use", "until_next_refresh", "grace", "immediate", "family"])
@pytest.mark.parametrize("broken", range(LONGEST - 1))
def test_whatever_is_broken_off_is_unclear(profile: str, broken: int) -> None:
    model, before = Model(profile), found(Model(profile).do)[1]
    steps = iter(range(LONGEST))
    finding, _ = found(lambda step: Seen.BROKEN_OFF if next(steps) == broken else model.do(step))
    assert finding == (profile if broken >= len(before) or before[broken] is Step.USE_LAST else RotationFinding.UNCLEAR)


def _ends(seen: Sequence[Seen]) -> bool:
    return not isinstance(next_step(seen), Step)


def test_every_course_of_things_ends_within_eight_steps() -> None:
    open_ones: list[tuple[Seen, ...]] = [()]
    for _ in range(LONGEST):
        open_ones = [(*before, seen) for before, seen in product(open_ones, Seen) if not _ends((*before, seen))]
    assert open_ones == []
