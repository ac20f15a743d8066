"""A few of every kind of answer: who lives is fresh while others die in any words, and nobody is blamed for ours.

Of the answers that tell of a death every other one is told to some who die at one instant, the rest to some who die one
by one; `python -m tests.acceptance.dialects` tries each both ways, and all that are known.
"""

import pytest

from tests.acceptance.dialects import Course, Words, known, run
from tests.acceptance.installation import Installation
from tests.acceptance.providers import Toolkit

# One of each shape: RFC's word under another status, another word, JSON of its own, a success, a page, nothing at all.
DEAD = ("atlassian-1", "github-1", "shopify-1", "strava-1", "hubspot-2", "invented-1", "invented-7", "invented-13")
ELSE = ("ours", "throttled", "ill", "race")
COURSE = Course(lifetime=16, grants=12, watched=34, trouble=14, each_way=False)


def _some() -> list[Words]:
    words = known()
    return [
        *(each for each in words if each.name in DEAD),
        *(
            next(each for each in words if each.means == means and not each.name.startswith("invented"))
            for means in ELSE
        ),
    ]


@pytest.mark.timeout(240)
def test_nobody_who_lives_suffers_whatever_the_words_are(installation: Installation) -> None:
    installation.worker()
    installation.beat()
    words = _some()
    assert {each.means for each in words} >= {"dead", *ELSE}
    fleets = run(installation, words, COURSE)
    assert [fault for fleet in fleets for fault in fleet.faults(lifetime=COURSE.lifetime)] == []


AT_THE_TOOLKIT = ("atlassian-1", "strava-1", "invented-13")


@pytest.mark.timeout(240)
def test_nobody_who_lives_suffers_when_others_die_at_django_oauth_toolkit(
    installation: Installation, django_toolkit: Toolkit
) -> None:
    """The judgement is the toolkit's own, with its families; only its words are another provider's."""
    installation.worker()
    installation.beat()
    words = [each for each in known() if each.name in AT_THE_TOOLKIT]
    course = Course(lifetime=12, grants=8, watched=26, trouble=0, each_way=False)
    fleets = run(installation, words, course, at=django_toolkit)
    assert len(fleets) == len(AT_THE_TOOLKIT)
    assert [fault for fleet in fleets for fault in fleet.faults(lifetime=12)] == []
    assert all(len(fleet.gone) == 2 and fleet.asked_in_vain.total() >= 2 for fleet in fleets)
    assert all(fleet.provider.presented_twice() for fleet in fleets)  # the dead ones alone
