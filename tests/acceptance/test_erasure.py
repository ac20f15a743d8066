"""An erasure, asked by command or in an application's own transaction, is carried out by what an operator runs."""

import psycopg

from tests.acceptance.installation import Installation
from tests.acceptance.keeping import begin
from tests.acceptance.providers import Simulated, simulated
from tests.polling import eventually

ERASED = ("app-1", "app-2", "app-3")


def test_whoever_asked_to_be_erased_is_known_to_no_table_any_more(installation: Installation) -> None:
    with simulated("on_use", lifetime=8.0) as provider:
        begin(installation, provider, grants=4)
        eventually(lambda: len(provider.refreshes()) == 4, timeout=30)
        ids = {row["ref"]: row["id"] for row in installation.rows("select id, ref from evergrant.grants")}
        with psycopg.connect(installation.database_url) as application:
            application.execute("select evergrant.request_revocation('app-1', reason => 'app-1 left', erase => true)")
        installation.command("grants", "erase", "app-2", "--yes")
        installation.command("grants", "erase", "app-3", "--yes", "--wait")
        eventually(lambda: named(installation) == set(), timeout=60)

        for ref in ERASED:
            (row,) = installation.rows("select * from evergrant.grants where id = %s", [ids[ref]])
            assert (row["ref"], row["status"], row["labels"]) == (f"erased-{ids[ref]}", "revoked", {})
            assert (row["sealed_refresh_token"], row["sealed_access_token"], row["reason"]) == (None, None, None)
            assert row["refresh_fingerprint"] is not None
            assert is_dead(provider, ref)
            installation.command("grants", "show", ref, exit_code=4)
        assert installation.statuses("app") == {"active": 1, "revoked": 3}
        assert provider.lost() == []


def named(installation: Installation) -> set[str]:
    """Who of them is named in any row of any table."""
    tables = installation.rows("select tablename as name from pg_tables where schemaname = 'evergrant'")
    told = " ".join(
        row["told"]
        for table in tables
        for row in installation.rows(f"select t::text as told from evergrant.{table['name']} t")  # noqa: S608
    )
    return {ref for ref in ERASED if ref in told}


def is_dead(provider: Simulated, ref: str) -> bool:
    (grant,) = provider.control.grants(ref)
    return not any(pair["access_alive"] or pair["refresh_alive"] for pair in grant["pairs"])
