"""`evergrant grants revoke` where several refs hang on one grant at the provider."""

import json
from typing import Any

import pytest

from tests.integration.cli.evergrant import Evergrant

SHAPE = """
title = "Ends by merchant"
token_url = "https://id.example/token"
revoke_url = "https://id.example/revoke"
revoke_token = "neither"
revoke_parameters = { merchant_id = "{merchant}" }
"""


@pytest.fixture
def shop(evergrant: Evergrant, adopted: Any) -> Evergrant:
    """A client whose provider ends grants by a label, with three grants of two merchants."""
    folder = adopted.provider_folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "shop.toml").write_text(SHAPE)
    assert evergrant("clients", "add", "shop", "--provider", "shop", "--client-id", "id").code == 0
    lines = [
        {"ref": ref, "refresh_token": f"rt-{ref}", "labels": {"merchant": merchants}}
        for ref, merchants in (("a", ["m1"]), ("b", ["m1", "m2"]), ("c", ["m3"]))
    ]
    stdin = "\n".join(map(json.dumps, lines))
    assert evergrant("grants", "import", "-", "--client", "shop", "--paused", stdin=stdin).code == 0
    return evergrant


def test_what_another_ref_hangs_on_is_not_revoked_and_the_other_is_named(shop: Evergrant, sql: Any) -> None:
    done = shop("grants", "revoke", "a", "--yes", "--json")

    assert (done.code, done.error) == (1, "shared_grant")
    assert "a and b share one grant at the provider" in done.err
    assert sql("select count(*) from evergrant.revocations") == [(0,)]


@pytest.mark.parametrize("words", [["a", "--shared"], ["a", "b"], ["c"]])
def test_all_of_them_or_with_consent_or_who_shares_with_nobody_is(shop: Evergrant, words: list[str], sql: Any) -> None:
    done = shop("grants", "revoke", *words, "--yes")

    assert done.code == 0, done.err
    assert sql("select count(*) from evergrant.revocations") == [(len([w for w in words if w != "--shared"]),)]


def test_who_ends_already_hinders_nobody(shop: Evergrant) -> None:
    assert shop("grants", "revoke", "b", "--shared", "--yes").code == 0
    assert shop("grants", "revoke", "a", "--yes").code == 0


def test_two_refs_with_one_pair_share_it_whatever_the_file_says(shop: Evergrant, sql: Any) -> None:
    sql("""update evergrant.grants set refresh_fingerprint =
        (select refresh_fingerprint from evergrant.grants where ref = 'a') where ref = 'c'""")

    assert shop("grants", "revoke", "c", "--yes", "--json").error == "shared_grant"


def test_sql_ends_what_it_is_asked_to_end(shop: Evergrant, sql: Any) -> None:
    """Its caller answers for its own users."""
    assert sql("select evergrant.request_revocation('a') is not null") == [(True,)]
