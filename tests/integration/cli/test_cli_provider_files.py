"""A provider's file that cannot be used any more is told before the tokens of its clients lapse."""

from typing import Any

import settings
from tests.integration.cli.evergrant import Evergrant


def about_files(evergrant: Evergrant) -> list[tuple[str, bool]]:
    found = evergrant("status", "--json").json["attention"]
    return [(each["what"], each["human"]) for each in found if "provider file" in each["what"]]


def test_a_file_that_was_broken_is_named_with_its_clients(at_work: Evergrant, sql: Any) -> None:
    assert about_files(at_work) == []
    folder = settings.current().provider_folder
    folder.mkdir(parents=True)
    (folder / "event-temple.toml").write_text('token_url = "https://temple.exa', encoding="utf-8")
    ((what, human),) = about_files(at_work)
    assert what.startswith("the provider file of temple cannot be used here: ")
    assert "event-temple.toml" in what
    assert not human  # a worker may have another
    assert "the provider file of temple" in at_work("doctor").out
    sql("update evergrant.grants set access_expires_at = now() - interval '1 minute'")
    assert [human for _, human in about_files(at_work)] == [True]
