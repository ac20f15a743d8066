"""The page of what is kept for how long names every table, and says of every setting what it is."""

import re
from pathlib import Path

import pytest

from models import tables
from settings import PREFIX, Settings

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "retention.md").read_text(encoding="utf-8")
UNITS = {"hours": "_hours", "days": "_days"}
# Things that no setting changes, each with the statement that it must agree with.
FIXED = {
    "an hour after the process was last seen": ("models/process.py", "interval '1 hour'"),
    "a day after the code flow has ended": ("tasks/upkeep.py", "interval '1 day'"),
    "until it is delivered and 7 days more": ("models/webhook_upkeep.py", "DELIVERED_KEPT = timedelta(days=7)"),
    "30 where it was given up": ("models/webhook_upkeep.py", "DEAD_KEPT = timedelta(days=30)"),
    "20 predecessors at most": ("models/token_set.py", "PREDECESSORS_KEPT = 20"),
}


def test_every_table_is_on_the_page() -> None:
    section = PAGE[PAGE.index("## In the database") : PAGE.index("## In the home")]
    named = {
        name for line in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in re.findall(r"`(\w+)`", line)
    }
    assert named == {table.name for table in tables.Grant.metadata.sorted_tables}


def test_every_length_of_time_is_the_settings_own() -> None:
    found = re.findall(r"(\d+) (hours|days) \(`(\w+)`\)", PAGE)
    assert {name for _, __, name in found} == {"EVERGRANT_DEAD_TOKEN_DAYS", "EVERGRANT_JOURNAL_HOURS"}
    for number, unit, name in found:
        field = name.removeprefix(PREFIX).lower()
        assert field.endswith(UNITS[unit])
        assert Settings.model_fields[field].default == int(number)


@pytest.mark.parametrize("told", FIXED)
def test_every_fixed_length_of_time_is_the_statements_own(told: str) -> None:
    path, statement = FIXED[told]
    assert told in PAGE
    assert statement in (Path(__file__).resolve().parents[2] / path).read_text(encoding="utf-8")
