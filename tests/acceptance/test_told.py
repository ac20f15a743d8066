"""Webhooks under kill -9 in a short form; the long one is `python -m tests.acceptance.told`."""

from tests.acceptance.installation import Installation
from tests.acceptance.told import tell

TRANSITIONS = 600


def test_each_change_is_told_in_order_while_senders_are_killed(installation: Installation) -> None:
    report = tell(installation, transitions=TRANSITIONS, kills=2, rate=60)
    faults = [each for each in report.faults() if "99 of 100" not in each]  # how soon is for a quiet machine to say
    assert faults == [], report.told()


def test_nobody_is_told_twice_where_nobody_is_killed(installation: Installation) -> None:
    report = tell(installation, transitions=TRANSITIONS, kills=0, rate=120)
    faults = [each for each in report.faults() if "99 of 100" not in each]
    assert faults == [], report.told()
