"""A revocation, asked by command or in an application's own transaction, kills the grant at the provider."""

import psycopg

from tests.acceptance.installation import Installation, variables
from tests.acceptance.keeping import begin
from tests.acceptance.providers import Doorkeeper, Toolkit, simulated
from tests.polling import eventually

LIFETIME = 8.0
GRANTS = 20


def test_a_revoked_grant_dies_at_the_simulator_with_all_its_predecessors(installation: Installation) -> None:
    with simulated("on_use", lifetime=LIFETIME) as provider:
        begin(installation, provider, grants=GRANTS, renewed_at_once=True)
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


def test_chains_that_nobody_used_expired_disowned_and_doubtful_grants_are_revoked_as_far_as_can_be(
    installation: Installation,
) -> None:
    """A Doorkeeper of 5.6: no address to confirm at, a 200 that does nothing, and one answer that was lost."""
    with simulated("on_use", lifetime=3.0) as provider:
        provider.control.add_fault("drop", where="token", when="after", ref="app-3", count=1)
        begin(installation, Doorkeeper(provider.control, "on_use"), grants=4)
        eventually(lambda: all(provider.alive(f"app-{n}") >= 5 for n in (1, 2, 3, 4)), timeout=60)
        provider.end_by_user(["app-2"])
        # From here on nothing is refreshed but by the revocations: their access tokens end.
        installation.command("clients", "pause", "app")
        eventually(lambda: installation.fresh() == {}, timeout=30)
        installation.command("grants", "revoke", "app-1", "app-2", "app-3", "app-4", "--yes", "--wait")
        evidence = {row["ref"]: row["evidence"] for row in installation.listed("revocations", "list")}
        assert evidence == {"app-1": "verified", "app-2": "verified", "app-3": "accepted", "app-4": "verified"}
        # What was lost on the wire is known to nobody; all else is dead.
        assert [provider.alive(f"app-{n}") for n in (1, 2, 4)] == [0, 0, 0]
        assert provider.alive("app-3") <= 1


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

    # One whose user has left already, and one whose access token has ended meanwhile.
    installation.command("grants", "pause", "app-2", "app-3")
    django_toolkit.end_by_user(["app-2"])
    eventually(lambda: django_toolkit.living()["app-3"]["access"] == 0, timeout=60)
    installation.command("grants", "revoke", "app-2", "app-3", "--yes", "--wait")
    assert {row["evidence"] for row in installation.listed("revocations", "list")} == {"verified"}
    assert [django_toolkit.living()[ref] for ref in ("app-2", "app-3")] == [{"refresh": 0, "access": 0}] * 2
    assert sorted(django_toolkit.lost()) == ["app-1", "app-2", "app-3"]
    assert django_toolkit.presented_twice() == 0


def test_a_pair_that_came_too_late_for_its_generation_dies_with_its_grant(swift: Installation) -> None:
    """An answer is in the journal of a machine that died before it was stored; another machine has asked again."""
    swift.env |= variables({"http_deadline_seconds": "5", "attempt_lease_seconds": "9"})
    with simulated("on_use", lifetime=600) as provider:
        doorkeeper = Doorkeeper(provider.control, "on_use")
        provider.control.add_fault("delay", where="token", when="after", delay_seconds=3, count=1)
        with psycopg.connect(swift.database_url) as somebody:
            first = begin(swift, doorkeeper, grants=1)
            somebody.execute("update evergrant.grants set due_at = clock_timestamp()")
            somebody.commit()
            eventually(lambda: swift.rows("select 1 from evergrant.grants where started_at is not null"), every=0.02)
            somebody.execute("select from evergrant.grants for no key update")
            eventually(lambda: doorkeeper.alive("app-1") == 2 and swift.is_waiting(), timeout=30)
            first.kill()
        home = swift.env["EVERGRANT_HOME"]
        other = swift.folder / "another-machine"
        other.mkdir(mode=0o700)
        swift.env["EVERGRANT_HOME"] = str(other)
        swift.worker()
        eventually(lambda: generation(swift) == 2, timeout=60)
        swift.env["EVERGRANT_HOME"] = home
        swift.worker()
        eventually(lambda: kinds(swift) == {"predecessor", "surplus"}, timeout=60)
        assert doorkeeper.alive("app-1") == 3
        swift.command("grants", "revoke", "app-1", "--yes", "--wait")
        assert doorkeeper.alive("app-1") == 0
        (row,) = swift.listed("revocations", "list")
        assert (row["status"], row["evidence"]) == ("done", "accepted")  # an answer was out of sight for a while


def generation(installation: Installation) -> int:
    (row,) = installation.rows("select generation from evergrant.grants")
    return int(row["generation"])


def kinds(installation: Installation) -> set[str]:
    return {row["kind"] for row in installation.rows("select kind from evergrant.former_tokens")}
