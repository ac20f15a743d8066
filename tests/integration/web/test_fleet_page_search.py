"""The search of the fleet page: what it finds, and how it goes on in a fleet of any size."""

import re
from pathlib import Path

import pytest

from models.database import transaction
from models.views import pages
from tests.harness import Harness
from tests.integration.web.asking import Web
from tests.integration.web.page import LONG_AGO, see


@pytest.fixture
def client(harness: Harness) -> int:
    return harness.client()


def test_pages_of_grants_follow_each_other_and_miss_none(harness: Harness, web: Web) -> None:
    first, second = harness.client("one"), harness.client("two")
    wanted = []
    for n in range(70):
        harness.grant(first if n % 2 else second, f"r-{n:03}")
        wanted.append(f"r-{n:03}")
    harness.grant(second, "r-049")  # the same ref at another client, where a page ends
    wanted.append("r-049")
    found, path = [], "/grants"
    for _ in range(5):
        page = see(web, path)
        found += page.refs()
        following = [link for link in page.links() if "after=" in link]
        if not following:
            break
        (path,) = following
    assert found == sorted(wanted)


@pytest.mark.parametrize(
    ("query", "refs"),
    [
        ("", ["a-1", "a-2", "b-1", "doubt", "fails", "sad", "suspect", "waits"]),
        ("?ref=a-", ["a-1", "a-2"]),
        ("?ref=a-&client=two", ["a-2"]),
        ("?client=two", ["a-2"]),
        ("?label=org%3D8f2", ["b-1"]),
        ("?label=org%3D8", []),
        ("?state=needs_consent", ["sad"]),
        ("?state=needs_consent&client=one&cause=expired", ["sad"]),
        ("?state=needs_consent&cause=mfa_required", []),
        ("?cause=expired", ["sad"]),
        ("?cause=timeout", ["fails"]),
        ("?state=failing", ["fails"]),
        ("?state=suspect", ["suspect"]),
        ("?state=in_doubt", ["doubt"]),
        ("?state=paused", ["waits"]),
        ("?state=revoked", ["gone", "gone-2"]),
        ("?state=all&ref=gon", ["gone", "gone-2"]),
        ("?state=revoked&client=two", ["gone-2"]),
        ("?state=revoking", ["going"]),
        ("?state=active&client=two", ["a-2"]),
    ],
)
def test_each_filter_finds_its_own_alone(harness: Harness, web: Web, query: str, refs: list[str]) -> None:
    one, two = harness.client("one"), harness.client("two")
    harness.grant(one, "a-1")
    harness.grant(two, "a-2")
    harness.grant(one, "b-1", labels={"org": ["8f2", "9"]})
    harness.grant(one, "sad", status="needs_consent", reason="expired")
    harness.grant(one, "fails", failures=2, last_error_code="timeout")
    harness.grant(one, "suspect", suspect_at=LONG_AGO)
    harness.grant(one, "doubt", doubt_since=LONG_AGO)
    harness.grant(one, "waits", status="paused")
    harness.grant(one, "gone", status="revoked")
    harness.grant(two, "gone-2", status="revoked")
    harness.grant(one, "going", status="revoking")
    assert see(web, f"/grants{query}").refs() == refs


def test_a_search_that_takes_too_long_stops_says_how_far_it_came_and_goes_on_there(
    harness: Harness, client: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "FIRST_STEP", 2)
    monkeypatch.setattr(pages, "STEP", 2)
    for n in range(5):
        harness.grant(client, f"r-{n}")
    harness.grant(client, "z", labels={"org": ["8"]})
    search = pages.Search(label=("org", "8"))
    with transaction() as connection:
        found = pages.grants(connection, search, after=None, most=50, enough=lambda: True)
        assert (found.rows, found.looked_at) == ([], 2)
        assert found.next is not None
        assert found.next[0] == "r-1"
        found = pages.grants(connection, search, after=found.next, most=50, enough=lambda: False)
        assert ([row["ref"] for row in found.rows], found.next) == (["z"], None)


def test_no_statement_of_a_search_counts_or_sorts_the_fleet(harness: Harness, client: int) -> None:
    """The page of a million is as quick as that of a hundred: each step is an index's, and has a limit."""
    source = Path(pages.__file__).read_text(encoding="utf-8")
    assert " offset " not in source.lower()
    assert re.findall(r"count\(\*\)[^,)]*", source) == ["count(*) from looked"]
