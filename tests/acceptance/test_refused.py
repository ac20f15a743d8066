"""Who is refused, and who is to blame: our own registration, or a user who has withdrawn."""

from tests.acceptance.dying import let_die
from tests.acceptance.installation import Installation
from tests.acceptance.keeping import begin
from tests.acceptance.providers import simulated
from tests.polling import eventually

LIFETIME = 6.0
GRANTS = 20


def test_a_wrong_client_secret_blames_no_grant_and_mending_it_recovers_all(installation: Installation) -> None:
    with simulated("immediate", lifetime=LIFETIME) as provider:
        begin(installation, provider, grants=GRANTS)
        eventually(provider.refreshes, timeout=30)
        provider.control.set_secret("app", "another one")
        eventually(lambda: installation.fresh() == {}, timeout=60)

        assert installation.statuses("app") == {"active": GRANTS}
        assert installation.listed("dead-letters", "list") == []
        (client,) = installation.listed("clients", "show", "app")
        assert (client["state"], client["reason"]) == ("shut", "invalid_client")
        refused = [request for request in provider.asked() if request["status"] == 401]
        assert 3 <= len(refused) <= 30  # those on their way, then a canary now and then

        installation.command("clients", "set-secret", "app", "--client-secret-file", "-", stdin="another one")
        eventually(lambda: installation.fresh() == {"app": GRANTS}, timeout=60)
        assert installation.statuses("app") == {"active": GRANTS}
        assert provider.lost() == []


def test_a_user_who_withdraws_becomes_a_dead_letter_while_the_others_go_on(installation: Installation) -> None:
    with simulated("immediate", lifetime=LIFETIME) as provider:
        begin(installation, provider, grants=GRANTS, renewed_at_once=True)
        eventually(lambda: len(provider.refreshes()) == GRANTS, timeout=30)
        provider.end_by_user(["app-1", "app-2"])
        eventually(lambda: installation.statuses("app").get("needs_consent") == 2, timeout=60)

        letters = installation.listed("dead-letters", "list")
        assert {(letter["ref"], letter["kind"], letter["cause"]) for letter in letters} == {
            ("app-1", "refresh", "revoked_or_expired"),
            ("app-2", "refresh", "revoked_or_expired"),
        }
        # Refused once, each was asked again a quarter of its life later, and not once more.
        for ref in ("app-1", "app-2"):
            times = [
                request["at"] for request in provider.asked() if request["ref"] == ref and request["status"] == 400
            ]
            assert len(times) == 2
            assert times[1] - times[0] >= LIFETIME / 4
        installation.command("grants", "token", "app-1", exit_code=3)
        before = len(provider.refreshes()["app-3"])
        eventually(lambda: len(provider.refreshes()["app-3"]) > before, timeout=30)
        assert installation.fresh() == {"app": GRANTS - 2}
        assert installation.statuses("app") == {"active": GRANTS - 2, "needs_consent": 2}


def test_a_fifth_that_withdraws_at_one_instant_in_the_providers_own_words_makes_nobody_else_stale(
    installation: Installation,
) -> None:
    """Of many at once; a few of a fleet in every other shape of words: test_dialects.py."""
    with simulated("immediate", lifetime=12.0, dialect="atlassian") as provider:
        report = let_die(installation, provider, grants=60, dead=12, lifetime=12.0, seconds=30)
        assert report.faults() == []
        assert len(report.asked_in_vain) == 12
