"""Operators, users and applications who act while a refresh is on its way; and what refuses many at once."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from tests.acceptance.installation import Installation
from tests.acceptance.keeping import begin
from tests.acceptance.providers import Simulated, simulated
from tests.polling import eventually

LIFETIME = 8.0
GRANTS = 24
REFUSAL: dict[str, Any] = {"act": "status", "status": 400, "body": '{"error": "invalid_grant"}'}


def under_way(installation: Installation, ref: str) -> bool:
    return bool(installation.rows("select 1 from evergrant.grants where ref = %s and started_at is not null", [ref]))


def all_at_once(*acts: Callable[[], object]) -> None:
    """Do all of it at the same time."""
    threads = [threading.Thread(target=act) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)


def connect(installation: Installation, ref: str) -> None:
    """A user goes through the code flow once more."""
    url = urlsplit(installation.listed("grants", "authorize-url", ref, "--client", "app")[0]["url"])
    connection = HTTPConnection(url.netloc, timeout=10)
    connection.request("GET", f"{url.path}?{url.query}&auto=allow&user={ref}")
    back = connection.getresponse().headers["Location"]
    connection.close()
    installation.command("grants", "exchange", ref, "--client", "app", "--callback-url-file", "-", stdin=str(back))


def import_again(installation: Installation, provider: Simulated, refs: Sequence[str]) -> None:
    """The same refs from another file, with newer consents."""
    rows = provider.control.mint("app", refs=list(refs), orgs=["org-1"])
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    installation.command("grants", "import", "-", "--client", "app", "--replace", stdin=lines)


def test_whoever_acts_while_a_refresh_is_on_its_way_finds_the_newest_tokens_kept_or_dead_as_was_asked(
    installation: Installation,
) -> None:
    with simulated("immediate", lifetime=LIFETIME) as provider:
        provider.control.add_fault("delay", where="token", when="after", grant_type="refresh_token", delay_seconds=1.5)
        begin(installation, provider, grants=GRANTS)
        eventually(lambda: any(under_way(installation, f"app-{n}") for n in range(1, 11)), timeout=30)
        all_at_once(
            lambda: installation.command("grants", "pause", "app-1", "app-2"),
            lambda: installation.command("grants", "revoke", "app-3", "app-4", "--yes"),
            lambda: import_again(installation, provider, ["app-5", "app-6"]),
            lambda: connect(installation, "app-7"),
            lambda: connect(installation, "app-8"),
            lambda: installation.command("grants", "refresh", "app-9", "app-10"),
        )
        eventually(lambda: ended(installation) == {"app-3", "app-4"}, timeout=60)
        others = {f"app-{n}" for n in range(5, GRANTS + 1)}
        eventually(lambda: others <= installation.handed_out().keys(), timeout=60)
        # Paused: what was on its way is stored, and nothing more is asked for.
        assert installation.statuses("app")["paused"] == 2
        provider.control.clear_faults()  # so that no answer is on its way when the provider judges
        eventually(lambda: refused(installation, provider) == set(), timeout=30)
        for ref in ("app-3", "app-4"):
            assert living_pairs(provider, ref) == 0
        # A second consent: one set lives, the earlier one was ended at the provider.
        for ref in ("app-7", "app-8"):
            eventually(lambda ref=ref: living_pairs(provider, ref) == 1, timeout=60)  # type: ignore[misc]
        installation.command("grants", "resume", "app-1", "app-2")
        eventually(lambda: installation.fresh() == {"app": GRANTS - 2}, timeout=60)
        assert provider.presented_twice() == 0
        assert installation.listed("dead-letters", "list") == []


def refused(installation: Installation, provider: Simulated) -> set[str]:
    """Of those that are kept: whose refresh token, as it is stored now, the provider would refuse."""
    verdicts = provider.control.judge(installation.refresh_tokens())
    return {ref for ref, verdict in verdicts.items() if not verdict["refresh_alive"]} - {"app-3", "app-4"}


def ended(installation: Installation) -> set[str]:
    """Refs of which no row is left that is not revoked."""
    rows = installation.rows("select ref, bool_and(status = 'revoked') as over from evergrant.grants group by ref")
    return {row["ref"] for row in rows if row["over"]}


def living_pairs(provider: Simulated, ref: str) -> int:
    return sum(pair["refresh_alive"] for grant in provider.control.grants(ref) for pair in grant["pairs"])


def test_a_letter_that_many_redrive_at_once_is_one_request_and_a_provider_that_was_wrong_gives_the_grant_back(
    installation: Installation,
) -> None:
    with simulated("immediate", lifetime=LIFETIME) as provider:
        provider.control.add_fault(where="token", ref="app-1", **REFUSAL)
        begin(installation, provider, grants=GRANTS)
        eventually(lambda: installation.statuses("app").get("needs_consent") == 1, timeout=60)
        (letter,) = installation.listed("dead-letters", "list")
        assert letter["ref"] == "app-1"
        provider.control.clear_faults()
        before = len(asked_for(provider, "app-1"))
        number = str(letter["id"])
        done: list[str] = []
        all_at_once(*[lambda: done.append(redriven(installation, number)) for _ in range(4)])
        eventually(lambda: installation.fresh() == {"app": GRANTS}, timeout=60)
        assert len(asked_for(provider, "app-1")) == before + 1
        assert provider.presented_twice() == 0
        assert installation.listed("dead-letters", "list") == []


def redriven(installation: Installation, number: str) -> str:
    try:
        return installation.command("dead-letters", "redrive", number)
    except AssertionError as refused:  # another was quicker
        return str(refused)


def asked_for(provider: Simulated, ref: str) -> list[int]:
    return [request["status"] for request in provider.asked() if request["ref"] == ref]


def test_when_everybody_is_refused_at_once_nobody_dies_until_a_human_says_so(installation: Installation) -> None:
    with simulated("immediate", lifetime=LIFETIME) as provider:
        begin(installation, provider, grants=GRANTS, renewed_at_once=True)
        eventually(lambda: len(provider.refreshes()) == GRANTS, timeout=30)
        provider.control.add_fault(where="token", **REFUSAL)
        eventually(lambda: deaths_held(installation), timeout=60)
        eventually(lambda: refused_twice(installation) >= 10, timeout=60)
        assert installation.statuses("app") == {"active": GRANTS}
        assert installation.listed("dead-letters", "list") == []
        # The provider was wrong: all come back by themselves.
        provider.control.clear_faults()
        eventually(lambda: installation.fresh() == {"app": GRANTS}, timeout=60)
        # Now they are really dead, and a human has looked. They are asked together: of a few, each dies of its own.
        installation.command("clients", "pause", "app")
        eventually(lambda: due(installation) == GRANTS, timeout=60)
        provider.end_by_user([f"app-{n}" for n in range(1, 11)])
        installation.command("clients", "resume", "app")
        eventually(lambda: suspects(installation) == 10, timeout=60)
        assert installation.statuses("app") == {"active": GRANTS}
        installation.command("clients", "accept-deaths", "app", "--yes")
        eventually(lambda: installation.statuses("app") == {"active": GRANTS - 10, "needs_consent": 10}, timeout=60)
        assert {letter["cause"] for letter in installation.listed("dead-letters", "list")} == {"revoked_or_expired"}


def deaths_held(installation: Installation) -> bool:
    (valve,) = installation.rows("select deaths_held_at, deaths_accepted_at from evergrant.valves")
    return bool(valve["deaths_held_at"])


def due(installation: Installation) -> int:
    return len(installation.rows("select ref from evergrant.grants where due_at <= clock_timestamp()"))


def suspects(installation: Installation) -> int:
    return len(installation.rows("select ref from evergrant.grants where suspect_at is not null"))


def refused_twice(installation: Installation) -> int:
    """How many grants were refused more than once."""
    refused = Counter(json.loads(line)["ref"] for line in installation.logged('"outcome": "invalid_grant"'))
    return sum(count >= 2 for count in refused.values())
