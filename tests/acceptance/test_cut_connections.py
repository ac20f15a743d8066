"""Connections that a machine in between cuts: to the provider, to PostgreSQL, to the broker; at any byte, both ways."""

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from tests.acceptance.cutting import Cutter, Knife, Line, after
from tests.acceptance.installation import Installation
from tests.acceptance.keeping import due_now
from tests.acceptance.providers import Provider, Simulated, Toolkit, simulated
from tests.polling import eventually

LIFETIME = 8.0
GRANTS = 40
REQUEST, ANSWER = 420, 560  # bytes of a request and of an answer, about: none is cut after its end


@contextmanager
def through(cutter: Cutter, provider: Provider) -> Iterator[list[str]]:
    """Let a provider be reached through a cutter: the options that say so."""
    with cutter:
        url = provider.registration()[provider.registration().index("--token-url") + 1]
        yield ["--token-url", url.replace(provider.url, f"http://127.0.0.1:{cutter.port}")]


def port_of(provider: Provider) -> int:
    return int(provider.url.rpartition(":")[2])


def sweep(count: int, *, answers: int) -> dict[int, tuple[str, int]]:
    """So many connections to be cut, `answers` of them in the answer, each after another number of bytes."""
    back = {n * count // answers: ("answered", n * ANSWER // answers) for n in range(answers)}
    return {n: back.get(n, ("asked", n * REQUEST // count)) for n in range(count)}


def dead(provider: Simulated, installation: Installation) -> set[str]:
    """Refs whose refresh token, as we hold it, the provider would refuse."""
    verdicts = provider.control.judge(installation.refresh_tokens())
    return {ref for ref, verdict in verdicts.items() if not verdict["refresh_alive"]}


def all_due_at_once(installation: Installation, provider: Provider, options: list[str]) -> None:
    """So that each of the first requests has a connection of its own."""
    installation.worker()
    installation.register("app", [*provider.registration(), *options], provider.secret)
    installation.import_grants("app", due_now(provider, GRANTS))
    installation.beat()


def test_requests_and_answers_cut_at_any_byte_cost_no_grant_at_on_use(swift: Installation) -> None:
    with simulated("on_use", lifetime=LIFETIME) as provider:
        cutter = Cutter(port_of(provider), after(sweep(GRANTS, answers=GRANTS // 2)))
        with through(cutter, provider) as options:
            all_due_at_once(swift, provider, options)
            # After three that failed the valve lets one at a time through; those on their way were cut as well.
            eventually(
                lambda: len(cutter.cuts) >= GRANTS // 2 and cutter.count("asked") and cutter.count("answered"),
                timeout=60,
            )
            cutter.knife = None
            eventually(lambda: swift.fresh() == {"app": GRANTS}, timeout=60)
        assert dead(provider, swift) == set()
        assert swift.statuses("app") == {"active": GRANTS}
        # A cut is silence, and silence is never taken for a refusal.
        assert {request["status"] for request in provider.asked()} == {200}


def test_at_django_oauth_toolkit_only_those_whose_answer_was_cut_are_lost_and_told(
    swift: Installation, django_toolkit: Toolkit
) -> None:
    """Rotation with reuse protection: a request that was cut was not carried out, an answer that was cut is lost."""
    cutter = Cutter(port_of(django_toolkit), after(sweep(20, answers=4)))
    with through(cutter, django_toolkit) as options:
        all_due_at_once(swift, django_toolkit, options)
        # Requests are cut while they are sent, answers only when this server, slow under load, has made them.
        eventually(lambda: len(cutter.cuts) >= 10 and cutter.count("answered") >= 2, timeout=60)
        cutter.knife = None
        # All that are not lost are fresh, so what is lost is known, by the server's own tables.
        eventually(lambda: swift.fresh() == {"app": GRANTS - len(django_toolkit.lost())}, timeout=90)
        lost = django_toolkit.lost()
        assert len(lost) >= 2
        eventually(lambda: swift.statuses("app").get("needs_consent") == len(lost), timeout=90)
    letters = swift.listed("dead-letters", "list")
    assert {letter["cause"] for letter in letters} == {"response_lost"}
    assert sorted(letter["ref"] for letter in letters) == sorted(lost)


# The database and the broker


@contextmanager
def begun_through_cutters(
    installation: Installation, provider: Provider, *, grants: int
) -> Iterator[tuple[Cutter, Cutter]]:
    """A worker and a beat that reach PostgreSQL and the broker through cutters; commands go straight."""
    straight = dict(installation.env)
    database = Path(unquote(installation.database_url.partition("?host=")[2].partition("&")[0])) / ".s.PGSQL.5432"
    broker = urlsplit(straight["EVERGRANT_BROKER_URL"])
    with (
        tempfile.TemporaryDirectory(prefix="eg-") as short,  # the path of a socket has 107 bytes
        Cutter(database, at=Path(short) / database.name) as to_database,
        Cutter(Path(broker.path), at=Path(short) / "broker") as to_broker,
    ):
        installation.env |= {
            "EVERGRANT_DATABASE_URL": installation.database_url.replace(quote(str(database.parent)), short),
            "EVERGRANT_BROKER_URL": broker._replace(path=f"{short}/broker").geturl(),
        }
        installation.worker()
        installation.beat()
        installation.env = straight
        installation.register("app", provider.registration(), provider.secret)
        installation.import_grants("app", due_now(provider, grants))
        yield to_database, to_broker
        installation.close()


def resetting_commits(every: int) -> Knife:
    """Of so many COMMITs one is carried out, and its answer is a reset; by chance, for a process that begins anew after
    each would have it at the same place each time.
    """
    chance = random.Random(every)

    def knife(line: Line, way: str, data: bytes) -> int | None:
        if way == "asked" and b"COMMIT" in data:
            line.noted = chance.random() < 1 / every
        return 0 if way == "answered" and line.noted else None

    return knife


def chopping(least: int, most: int, *, times: int) -> Knife:
    """Cut connections after some number of bytes in one direction; so many of them."""
    cut: list[int] = []

    def knife(line: Line, way: str, data: bytes) -> int | None:
        chance = random.Random(line.number)
        wanted, place = chance.choice(("asked", "answered")), chance.randint(least, most)
        left = place - (line.asked if way == "asked" else line.answered)
        if way != wanted or left >= len(data) or len(cut) >= times:
            return None
        cut.append(line.number)
        return max(left, 0)

    return knife


def test_commits_answered_by_a_reset_cost_no_grant_where_the_old_token_dies_at_once(installation: Installation) -> None:
    with (
        simulated("immediate", lifetime=LIFETIME) as provider,
        begun_through_cutters(installation, provider, grants=GRANTS) as (database, _),
    ):
        database.knife = resetting_commits(every=4)
        # Both are struck: a beat that claimed, and a worker that settled.
        struck = ("beat.tick_failed", "settle.database_away")
        eventually(lambda: len(database.cuts) >= 8 and all(map(installation.logged, struck)), timeout=60)
        database.knife = None
        nothing_is_lost(installation, provider)


def test_connections_to_database_and_broker_cut_at_any_byte_cost_no_grant_where_the_old_token_dies_at_once(
    installation: Installation,
) -> None:
    with (
        simulated("immediate", lifetime=LIFETIME) as provider,
        begun_through_cutters(installation, provider, grants=GRANTS) as (database, broker),
    ):
        database.knife, broker.knife = chopping(100, 20_000, times=12), chopping(10, 3_000, times=8)
        eventually(lambda: len(database.cuts) == 12 and len(broker.cuts) == 8, timeout=60)
        nothing_is_lost(installation, provider)


def nothing_is_lost(installation: Installation, provider: Simulated) -> None:
    """All are renewed, and no token was ever presented twice."""
    eventually(lambda: len(provider.refreshes()) == GRANTS, timeout=60)
    eventually(lambda: installation.fresh() == {"app": GRANTS}, timeout=60)
    # One that is on its way is dead for a moment, one that is lost for ever.
    eventually(lambda: dead(provider, installation) == set(), timeout=20)
    assert provider.presented_twice() == 0
    assert installation.statuses("app") == {"active": GRANTS}
