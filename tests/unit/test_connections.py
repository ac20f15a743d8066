"""Who goes where a connection is one too many: strangers before known ones, the greedy before the others."""

from datetime import timedelta

import pytest

from worker.web.connections import LARGE_HEAD, SLOW_HEAD, TOO_MANY, Connection, Connections, Limits

SECOND = timedelta(seconds=1)


class Scene:
    """Connections at a time that the test tells; whoever is cut off stands in `cut`."""

    def __init__(self, in_all: int = 8, strangers: int = 4) -> None:
        limits = Limits(in_all, strangers, head=10 * SECOND, idle=20 * SECOND, whole=30 * SECOND)
        self.now = 0.0
        self.all = Connections(limits, now=lambda: self.now)
        self.cut: list[str] = []
        self.named: dict[str, Connection] = {}

    def open(self, name: str, peer: str, *, holder: int | None = None, idle: bool = True) -> bool:
        connection = Connection(peer, lambda: self.cut.append(name), lambda: idle)
        self.named[name] = connection
        stays = self.all.opened(connection)
        if holder is not None:
            self.all.head_came(connection)
            self.all.proved(connection, holder)
        return stays


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_quarter_of_the_files_stays_for_all_else() -> None:
    assert Limits.of_open_files(1024).in_all == 768
    assert Limits.of_open_files(300).in_all == 172
    assert Limits.of_open_files(10).in_all == 16
    assert Limits.of_open_files(10**6).in_all == 20_000
    assert Limits.of_open_files(1024).strangers == 384


def test_of_an_address_with_more_than_its_share_the_oldest_goes(scene: Scene) -> None:
    scene.open("honest", "a")
    for n in range(9):
        assert scene.open(f"flood {n}", "b")
    assert scene.cut == [f"flood {n}" for n in range(6)]
    assert (scene.all.strangers, scene.all.closed_for[TOO_MANY]) == (4, 6)


def test_one_that_comes_from_elsewhere_takes_the_place_of_the_oldest(scene: Scene) -> None:
    for n in range(4):
        scene.open(f"flood {n}", "b")
    assert scene.open("honest", "a")
    assert scene.cut == ["flood 0"]


def test_whoever_has_shown_a_key_is_never_closed_for_a_stranger(scene: Scene) -> None:
    for n in range(4):
        scene.open(f"known {n}", "a", holder=1)
    for n in range(50):
        scene.open(f"flood {n}", f"address {n}")
    assert {name.partition(" ")[0] for name in scene.cut} == {"flood"}
    assert (scene.all.known, scene.all.strangers) == (4, 4)


def test_an_application_with_the_most_gives_an_idle_one_up() -> None:
    scene = Scene()
    scene.open("modest", "a", holder=1)
    scene.open("waiting", "b", holder=2, idle=False)
    for n in range(5):
        scene.open(f"greedy {n}", "b", holder=2)
    assert scene.cut == ["greedy 0"]
    assert scene.all.known == 6


def test_where_none_is_idle_its_newest_goes() -> None:
    scene = Scene()
    scene.open("modest", "a", holder=1)
    for n in range(6):
        scene.open(f"greedy {n}", "b", holder=2, idle=False)
    assert scene.cut == ["greedy 5"]


def test_whoever_says_nothing_is_closed_and_whoever_has_shown_a_key_is_kept(scene: Scene) -> None:
    scene.open("silent", "a")
    scene.open("known", "a", holder=1)
    scene.now = 9.9
    scene.all.end_slow(16)
    assert scene.cut == []
    scene.now = 10
    scene.all.end_slow(16)
    assert scene.cut == ["silent"]
    assert scene.all.closed_for[SLOW_HEAD] == 1


def test_the_late_are_cut_off_a_few_at_a_time(scene: Scene) -> None:
    for n in range(5):
        scene.open(f"silent {n}", "a")
    scene.now = 10
    told = [scene.all.end_slow(2) for _ in range(3)]
    assert (told, len(scene.cut)) == ([True, True, False], 5)


def test_a_known_one_may_not_be_slow_with_a_head_either(scene: Scene) -> None:
    scene.open("known", "a", holder=1)
    known = scene.named["known"]
    scene.now = 5
    scene.all.head_began(known)
    scene.now = 14
    scene.all.head_began(known)  # more of the same head
    scene.all.end_slow(16)
    assert scene.cut == []
    scene.now = 15
    scene.all.end_slow(16)
    assert scene.cut == ["known"]
    assert scene.all.known == 0


def test_a_stranger_that_was_answered_may_be_silent_for_a_while_and_at_work_for_longer(scene: Scene) -> None:
    scene.open("answered", "a")
    scene.open("at work", "a", idle=False)
    for each in scene.named.values():
        scene.all.head_came(each)
    scene.now = 20
    scene.all.end_slow(16)
    assert scene.cut == ["answered"]
    scene.now = 30
    scene.all.end_slow(16)
    assert scene.cut == ["answered", "at work"]


def test_whoever_was_closed_is_counted_no_longer_however_often_that_is_told(scene: Scene) -> None:
    scene.open("stranger", "a")
    scene.open("known", "a", holder=1)
    scene.all.end(scene.named["stranger"], LARGE_HEAD)
    for each in scene.named.values():
        scene.all.closed(each)
        scene.all.closed(each)
    assert (scene.all.strangers, scene.all.known) == (0, 0)
    scene.all.proved(scene.named["stranger"], 1)  # its key was being looked up meanwhile
    assert scene.all.known == 0
