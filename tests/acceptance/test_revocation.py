"""A revocation, asked by command or in an application's own transaction, kills the grant at the provider."""

import psycopg

from tests.acceptance.installation import Installation
from tests.acceptance.keeping import begin
from tests.acceptance.providers import Toolkit, simulated
from tests.polling import eventually

LIFETIME = 8.0
GRANTS = 20


def test_a_revoked_grant_dies_at_the_simulator_with_all_its_predecessors(installation: Installation) -> None:
    with simulated("on_use", lifetime=LIFETIME) as provider:
        begin(installation, provider, grants=GRANTS)
        eventually(lambda: len(provider.refreshes()) == GRANTS, timeout=30)
        installation.command("grants", "revoke", "app-1", "app-2", "--reason", "account deleted", "--yes")
        assert {"app-1", "app-2"}.isdisjoint(installation.handed_out())
        eventually(
            lambda: [r["status"] for r in installation.listed("revocations", "list")] == ["done"] * 2, timeout=60
        )

        assert {row["evidence"] for row in installation.listed("revocations", "list")} == {"verified"}
        for ref in ("app-1", "app-2"):
            (grant,) = provider.control.grants(ref)
            assert [pair for pair in grant["pairs"] if pair["access_alive"] or pair["refresh_alive"]] == []
        assert {"app-1", "app-2"}.isdisjoint(installation.handed_out())
        assert installation.statuses("app") == {"active": GRANTS - 2, "revoked": 2}
        eventually(lambda: installation.fresh() == {"app": GRANTS - 2}, timeout=30)
        assert installation.listed("dead-letters", "list") == []


def test_a_revocation_in_an_applications_transaction_kills_the_grant_at_django_oauth_toolkit(
    installation: Installation, django_toolkit: Toolkit
) -> None:
    begin(installation, django_toolkit, grants=GRANTS)
    with psycopg.connect(installation.database_url) as application:
        application.execute("select evergrant.request_revocation('app-1', reason => 'left us')")
        # Until the application commits nothing has happened, and it holds up nobody.
        eventually(lambda: len(django_toolkit.refreshes()) == GRANTS, timeout=30)
        assert "app-1" in installation.handed_out()
    assert "app-1" not in installation.handed_out()
    eventually(lambda: django_toolkit.living()["app-1"] == {"refresh": 0, "access": 0}, timeout=60)
    eventually(lambda: installation.listed("revocations", "list")[0]["status"] == "done", timeout=60)
    assert installation.listed("revocations", "list")[0]["evidence"] == "verified"
    assert "app-1" not in installation.handed_out()
    assert django_toolkit.lost() == ["app-1"]
    assert django_toolkit.presented_twice() == 0
