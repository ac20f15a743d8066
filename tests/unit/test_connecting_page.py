"""The page on connecting customers says what the code says."""

import re
from pathlib import Path

from models.states.visit import VisitReason

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "connect-your-customers.md").read_text(encoding="utf-8")


def test_every_reason_is_on_the_page_with_its_meaning() -> None:
    told = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", PAGE, re.MULTILINE))
    assert told == VisitReason.meanings()
