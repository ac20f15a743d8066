"""Two installations side by side, each an `up` with a home of its own, and an application that picks by client.

docs/explanation/scale.md tells what is seen here.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest
import requests

import evergrant_client
from evergrant_client import Evergrant, EvergrantError, NotAllowed, UnknownGrant, Unreachable
from tests.acceptance.one_machine import OneMachine
from tests.acceptance.providers import ORG, Simulated, simulated
from tests.polling import eventually

LIFETIME = 16.0
REFS = ["customer-1", "customer-2", "customer-3"]
"""The same at every client: what tells them apart is the client alone."""


@dataclass(frozen=True)
class Side:
    """One installation, where applications read, and the key of one of them."""

    machine: OneMachine
    token_url: str
    key: str

    def client(self) -> Evergrant:
        return Evergrant(token_url=self.token_url, application_key=self.key)

    def add(self, provider: Simulated) -> None:
        self.machine.register(provider.client_id, provider.registration(), provider.secret)

    def keep(self, provider: Simulated) -> None:
        self.add(provider)
        rows = [row | {"labels": {"org": [ORG]}} for row in provider.mint(len(REFS))]
        self.machine.import_grants(provider.client_id, rows)

    def generations(self, client: str) -> list[int]:
        statement = """
            select g.generation from evergrant.grants g join evergrant.clients c on c.id = g.client_id where c.name = %s
        """
        return [row["generation"] for row in self.machine.rows(statement, [client])]


@contextmanager
def side_by_side(folder: Path) -> Iterator[tuple[Side, Side]]:
    """Two of them, started at once: homes of their own, and where web listens."""
    starting = [
        OneMachine.starting(
            folder / name, token_bind=str(folder / f"{name}-token.sock"), ops_bind=str(folder / f"{name}-ops.sock")
        )
        for name in ("first", "second")
    ]
    machines: list[OneMachine] = []
    try:
        machines += [at_work() for at_work in starting]
        first, second = (_side(machine) for machine in machines)
        yield first, second
    finally:
        for machine in machines:
            machine.close()


def _side(machine: OneMachine) -> Side:
    key = machine.folder / "shop.key"
    machine.command("apps", "add", "shop", "--may", "read,refresh,revoke", "--key-file", str(key))
    return Side(machine, f"unix:{machine.env['EVERGRANT_TOKEN_BIND']}", key.read_text(encoding="utf-8").strip())


class Application:
    """Calls the provider's API for every customer of every client, over and over, in a thread.

    `homes` is all that it knows of installations: who keeps the grants of which client.
    """

    def __init__(self, provider: Simulated, homes: dict[str, Evergrant]) -> None:
        self.homes = homes
        self.answers: Counter[str] = Counter()
        self._url = provider.url + provider.api
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="application")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(60)

    def call(self, client: str, ref: str) -> str:
        """The status that the API answered, or the error that kept us from asking it."""
        auth = evergrant_client.requests.auth(self.homes[client], ref, client=client, org=ORG, min_ttl=1, timeout=5)
        try:
            return str(requests.get(self._url, auth=auth, timeout=30).status_code)
        except EvergrantError as error:
            return type(error).__name__

    def _run(self) -> None:
        while not self._ended.wait(0.5):
            for client in tuple(self.homes):
                self.answers.update(self.call(client, ref) for ref in REFS)


def living(provider: Simulated, ref: str) -> dict[str, bool]:
    """Whether the grants of a ref can still be refreshed, by client, as the provider has it."""
    return {row["client_id"]: row["alive"] for row in provider.control.grants(ref)}


def test_a_client_moves_between_two_installations_that_do_not_touch_each_others_grants(tmp_path: Path) -> None:
    with simulated("family", lifetime=LIFETIME) as provider, side_by_side(tmp_path) as (first, second):
        temple, north, south = (provider.another(name) for name in ("temple", "north", "south"))
        for side, client in ((first, temple), (first, north), (second, south)):
            side.keep(client)
        homes = {"temple": first.client(), "north": first.client(), "south": second.client()}
        with Application(provider, homes) as application:
            # Nothing of one opens anything at the other, which does not know its clients either.
            with pytest.raises(NotAllowed):
                Evergrant(token_url=second.token_url, application_key=first.key).access_token(REFS[0], client="south")
            with pytest.raises(UnknownGrant):
                second.client().access_token(REFS[0], client="north")

            # One client moves. The application is turned before its grants are refreshed in their other home.
            moved = tmp_path / "temple.jsonl"
            second.add(temple)
            first.machine.command("grants", "export", "--handover", "--client", "temple", "--out", str(moved))
            left, sent = first.generations("temple"), len(temple.asked())
            second.machine.command("grants", "import", str(moved), "--client", "temple", "--paused")
            application.homes["temple"] = second.client()
            assert len(temple.asked()) == sent
            second.machine.command("grants", "resume", "--client", "temple")
            eventually(lambda: min(second.generations("temple")) > 1, timeout=90)
        assert set(application.answers) <= {"200", "NotFreshYet"}, application.answers
        assert application.answers["200"] > len(REFS) * len(homes)
        # Each request was one home's: the provider has carried out as many as both have stored.
        assert first.generations("temple") == left
        eventually(lambda: refreshes(temple) == renewals(first, "temple") + renewals(second, "temple"))
        eventually(lambda: refreshes(north) == renewals(first, "north"))
        eventually(lambda: refreshes(south) == renewals(second, "south"))

        # A customer leaves one client of one home: whoever has the same ref elsewhere stays.
        homes["south"].request_revocation(REFS[0], client="south", reason="account deleted")
        eventually(lambda: living(provider, REFS[0]) == {"temple": True, "north": True, "south": False}, timeout=60)
        assert [application.call(name, REFS[0]) for name in homes] == ["200", "200", "GrantRevoked"]

        # One home ends: the other goes on, for whoever remembers no token.
        first.machine.close()
        with pytest.raises(Unreachable):
            first.client().access_token(REFS[1], client="north", timeout=1)
        homes |= {"temple": second.client(), "south": second.client()}
        assert [application.call(name, REFS[1]) for name in ("temple", "south")] == ["200", "200"]
        assert (provider.presented_twice(), provider.lost()) == (0, [])


def refreshes(provider: Simulated) -> int:
    """How many the provider has carried out for a client."""
    return sum(len(times) for times in provider.refreshes().values())


def renewals(side: Side, client: str) -> int:
    """How many token sets an installation has stored since it took the client's grants over."""
    return sum(generation - 1 for generation in side.generations(client))
