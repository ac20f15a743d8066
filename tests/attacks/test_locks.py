"""Neighbours' locks: an open transaction, whoever's, holds up what it holds and nobody else."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from tests.acceptance.installation import Installation
from tests.acceptance.keeping import begin
from tests.acceptance.programs import Running
from tests.acceptance.providers import Simulated, simulated
from tests.attacks.locks import LIFETIME, REFRESH, REVOCATION, attack, hold, renewed, send
from tests.attacks.stranger import Stranger
from tests.integration.web.asking import Web
from tests.polling import eventually
from worker.web.server import Addresses

GRANTS = 30
ROUNDS = 2
TRANSACTIONS, MESSAGES = 5, 240


def refs_of(numbers: range) -> list[str]:
    return [f"app-{n}" for n in numbers]


@contextmanager
def kept(installation: Installation, *, lifetime: float = LIFETIME) -> Iterator[Simulated]:
    """A fleet whose every grant was renewed once, at a provider that kills for a repeat."""
    with simulated("family", lifetime=lifetime) as provider:
        begin(installation, provider, grants=GRANTS, renewed_at_once=True)
        eventually(lambda: renewed(provider, refs_of(range(1, GRANTS + 1)), after=0) >= 1, timeout=60)
        yield provider


def nothing_is_lost(installation: Installation, provider: Simulated, *, alive: int) -> None:
    eventually(lambda: installation.fresh() == {"app": alive}, timeout=60)
    assert provider.presented_twice() == 0
    assert provider.lost() == []


def test_messages_for_grants_that_open_transactions_hold_delay_nobody_and_are_carried_out_afterwards(
    installation: Installation,
) -> None:
    held, others = refs_of(range(1, TRANSACTIONS + 1)), refs_of(range(TRANSACTIONS + 1, GRANTS + 1))
    with kept(installation) as provider, ExitStack() as running:
        strangers = hold(installation, held, running)
        send(installation, REVOCATION, held, MESSAGES)
        send(installation, REFRESH, held, MESSAGES)
        seen = attack(installation, provider, others, strangers, rounds=ROUNDS)
        assert seen.fewest == len(others)
        assert max(seen.waits) < LIFETIME
        # None of them is dropped: they are carried out once nobody holds what they need.
        for stranger in strangers:
            stranger.gives_up()
        eventually(lambda: installation.statuses("app").get("revoked") == TRANSACTIONS, timeout=60)
        assert {row["n"] for row in installation.rows("select count(*) as n from evergrant.waiting_requests")} == {0}
        nothing_is_lost(installation, provider, alive=len(others))
        assert installation.logged('"level": "error"', "Traceback") == []


def test_whoever_holds_a_lock_is_told_once_with_what_to_do(installation: Installation) -> None:
    with kept(installation) as provider, ExitStack() as running:
        (stranger,) = hold(installation, ["app-1"], running)
        send(installation, REVOCATION, ["app-1"], 5)
        eventually(lambda: installation.logged("lock.held"), timeout=30)
        attack(installation, provider, refs_of(range(2, GRANTS + 1)), [stranger], rounds=ROUNDS)
        (line,) = installation.logged("lock.held")
        assert "shop-app-1" in line
        assert f"pg_terminate_backend({stranger.pid})" in line


def test_a_row_that_somebody_has_locked_is_settled_when_it_is_free_and_the_others_meanwhile(
    installation: Installation,
) -> None:
    held, others = refs_of(range(1, 4)), refs_of(range(4, GRANTS + 1))
    with kept(installation) as provider, Stranger(installation) as stranger:
        provider.control.add_fault("delay", where="token", when="after", delay_seconds=1)
        for ref in held:
            eventually(partial(under_way, installation, ref), timeout=30, every=0.01)
            stranger.says("select from evergrant.grants where ref = %s for update", ref)
        seen = attack(installation, provider, others, [stranger], rounds=ROUNDS)
        assert seen.fewest == len(others)
        assert max(seen.waits) < LIFETIME
        stranger.gives_up()
        nothing_is_lost(installation, provider, alive=GRANTS)


def under_way(installation: Installation, ref: str) -> bool:
    return bool(installation.rows("select 1 from evergrant.grants where ref = %s and started_at is not null", [ref]))


def test_a_valve_that_somebody_has_locked_stops_its_client_alone(installation: Installation) -> None:
    others = refs_of(range(1, GRANTS + 1))
    with kept(installation) as provider:
        neighbour = provider.another("neighbour")
        installation.register("neighbour", neighbour.registration(), neighbour.secret)
        installation.import_grants("neighbour", neighbour.mint(GRANTS, "neighbour-"))
        of_neighbour = [f"neighbour-{n}" for n in range(1, GRANTS + 1)]
        eventually(lambda: renewed(neighbour, of_neighbour, after=0) >= 1, timeout=60)
        with Stranger(installation) as stranger:
            stranger.says(
                "select from evergrant.valves v join evergrant.clients c on c.id = v.client_id"
                " where c.name = 'neighbour' for update of v"
            )
            seen = attack(installation, provider, others, [stranger], rounds=ROUNDS)
            assert seen.fewest == len(others)
            assert max(seen.waits) < LIFETIME
        eventually(lambda: installation.fresh() == {"app": GRANTS, "neighbour": GRANTS}, timeout=60)
        assert (provider.presented_twice(), neighbour.presented_twice(), neighbour.lost()) == (0, 0, [])


def test_a_table_that_is_locked_for_a_while_costs_nothing_and_who_locks_it_is_told(installation: Installation) -> None:
    with kept(installation, lifetime=20) as provider:
        provider.control.add_fault("delay", where="token", when="after", delay_seconds=1)
        eventually(lambda: under_way_at_all(installation), timeout=60)
        with Stranger(installation, "a DBA") as stranger:
            stranger.says("lock table evergrant.grants")
            eventually(lambda: any("a DBA" in line for line in installation.logged("lock.held")), timeout=30)
        nothing_is_lost(installation, provider, alive=GRANTS)


def under_way_at_all(installation: Installation) -> bool:
    return bool(installation.rows("select 1 from evergrant.grants where started_at is not null"))


def test_a_long_report_holds_up_nobody(installation: Installation) -> None:
    refs = refs_of(range(1, GRANTS + 1))
    with kept(installation) as provider, Stranger(installation, "report") as stranger:
        stranger.says("set transaction isolation level repeatable read")
        stranger.says("select count(*) from evergrant.grants")
        send(installation, REVOCATION, ["app-1"], 10)
        eventually(lambda: installation.statuses("app").get("revoked") == 1, timeout=60)
        seen = attack(installation, provider, refs[1:], [stranger], rounds=ROUNDS)
        assert seen.fewest == len(refs) - 1
        assert max(seen.waits) < LIFETIME


def test_revocations_over_http_of_a_grant_that_is_held_keep_no_reader_waiting(
    installation: Installation, tmp_path: Path
) -> None:
    with kept(installation) as provider, ExitStack() as running:
        web = serve(installation, tmp_path)
        (stranger,) = hold(installation, ["app-1"], running)
        threads = running.enter_context(ThreadPoolExecutor(8))
        askers = [threads.submit(web.post, "app-1", "revocation", {"reason": "left"}) for _ in range(24)]
        while not all(asker.done() for asker in askers):
            assert web.get("app-2", min_ttl=0).status == 200
        assert stranger.still_holds()
        assert {asker.result().error for asker in askers} == {(503, "locked")}
        stranger.gives_up()
        assert web.post("app-1", "revocation", {"reason": "left"}).status == 202
        eventually(lambda: installation.statuses("app").get("revoked") == 1, timeout=60)
        nothing_is_lost(installation, provider, alive=GRANTS - 1)


def serve(installation: Installation, folder: Path) -> Web:
    """A web process of this installation, asked with the key of an application."""
    sockets = {name: str(folder / f"{name}.sock") for name in ("token", "ops")}
    installation.command("apps", "add", "billing", "--client", "app", "--key-file", str(folder / "key"))
    installation.env["EVERGRANT_TOKEN_BIND"], installation.env["EVERGRANT_OPS_BIND"] = sockets["token"], sockets["ops"]
    installation.env["EVERGRANT_TOKEN_REQUESTS_PER_SECOND"] = "10000"  # the reader asks as often as it is answered
    process = started(installation)
    eventually(lambda: process.said("web.listening"), timeout=60)
    key = (folder / "key").read_text(encoding="utf-8").strip()
    return Web(Addresses(f"unix:{sockets['ops']}", f"unix:{sockets['token']}"), key)


def started(installation: Installation) -> Running:
    return installation.run("web", [sys.executable, "-m", "worker.cli", "web"])
