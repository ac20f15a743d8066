"""What a provider's API knows a grant by becomes its labels after the consent, by a chore of workers."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from celery import Celery

from models import asked_labels, label, operator_actions
from models import client as clients
from models.database import transaction
from simulator.control import SimulatorControl
from tasks import upkeep
from tasks.oauth.token_answer import TokenSet
from tasks.runtime import clock, runtime
from tasks.settling.consent import Consent, store
from tasks.settling.settle import journal_answers, settle
from tests.harness import Harness
from tests.raw_servers import Bench, answering

AT = {"org": "data.*.attributes.api_org_id"}


@dataclass
class Asking:
    """A client of the simulator, whose organizations are asked for by the chore."""

    harness: Harness
    simulator: SimulatorControl

    def client(self, **more: Any) -> int:
        asked = {"labels_url": f"{self.simulator.url}/v2/organizations", "labels_at": AT}
        return self.harness.client(token_url=f"{self.simulator.url}/oauth/token", **asked | more)

    def consent(self, client_id: int, *orgs: str, labels: dict[str, list[str]] | None = None) -> UUID:
        """Store a consent that the simulator gave, as connect does."""
        (pair,) = self.simulator.mint(refs=[f"customer-{uuid4()}"], client_id="app", orgs=list(orgs or ["org-1"]))
        token_set = TokenSet(pair["access_token"], pair["refresh_token"], 7200)
        with transaction() as connection:
            registered = self.harness.runtime.registrations.ready(clients.known(connection, [client_id])[client_id])
            given = Consent(uuid4(), registered, "customer", labels or {}, token_set, clock.wall())
            return store(connection, given, vault=self.harness.runtime.vault, who="tests").grant_id

    def ask(self) -> None:
        """What a worker makes of the chore's message."""
        Celery(set_as_current=False).tasks[upkeep.upkeep.name].apply(args=("ask_labels",), throw=True)

    def due_again(self) -> None:
        self.harness.run("update evergrant.asked_labels set due_at = clock_timestamp() where due_at is not null")

    def asked(self) -> int:
        return sum(row["endpoint"] in ("organizations", "api", "elsewhere") for row in self.simulator.requests())

    def labels(self, grant: UUID) -> dict[str, list[str]]:
        return dict(self.harness.row(grant)["labels"])

    def events(self, grant: UUID) -> list[dict[str, Any]]:
        query = "select data from evergrant.events where grant_id = :id and type = 'grant.labels_asked' order by id"
        return [row["data"] for row in self.harness.all(query, id=grant)]


@pytest.fixture
def asking(harness: Harness, simulator: SimulatorControl) -> Iterator[Asking]:
    runtime.start(harness.settings, journal=journal_answers, settle=settle)
    yield Asking(harness, simulator)
    runtime.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def told(grant: UUID) -> dict[str, Any]:
    with transaction() as connection:
        row = asked_labels.of_grant(connection, grant)
    assert row is not None
    return dict(row["told"])


def test_the_organizations_of_a_consent_become_its_label_once_and_are_told(asking: Asking) -> None:
    client = asking.client()
    grant = asking.consent(client, "hotel-1", "hotel-2")
    assert asking.labels(grant) == {}
    asking.ask()
    asking.ask()
    assert asking.labels(grant) == {"org": ["hotel-1", "hotel-2"]}
    assert asking.events(grant) == [{"code": "kept", "kept": ["org"]}]
    assert asking.asked() == 1


def test_three_hundred_organizations_are_all_kept(asking: Asking) -> None:
    grant = asking.consent(asking.client(), *(f"hotel-{number}" for number in range(300)))
    asking.ask()
    assert len(asking.labels(grant)["org"]) == 300


def test_ten_thousand_are_no_label_and_it_is_told(asking: Asking) -> None:
    grant = asking.consent(asking.client(), *(f"h{number}" for number in range(10_000)))
    asking.ask()
    assert asking.labels(grant) == {}
    assert told(grant)["code"] in ("too_many", "too_large")
    assert "evergrant grants set customer --label org=VALUE" in told(grant)["next"]


@pytest.mark.parametrize("path", ["/v2/nowhere", "/v2/bookings"])
def test_a_wrong_guess_costs_one_request_keeps_nothing_and_is_told_once_with_what_to_do(
    asking: Asking, path: str
) -> None:
    grant = asking.consent(asking.client(labels_url=f"{asking.simulator.url}{path}"))
    before = asking.harness.row(grant)
    for _ in range(3):
        asking.ask()
    assert {**asking.harness.row(grant)} == {**before}
    (data,) = asking.events(grant)
    assert data["code"] == ("http_404" if path == "/v2/nowhere" else "http_400")
    assert data["next"].count("evergrant grants set customer") == 2
    assert asking.asked() == 1
    asking.harness.later(days=3)
    asking.ask()
    assert len(asking.events(grant)) == 1


def test_an_api_that_is_ill_is_asked_again_later_and_given_up_after_the_fourth_time(asking: Asking) -> None:
    grant = asking.consent(asking.client())
    asking.simulator.add_fault("status", where="all", status=500, when="before")
    asking.ask()
    asking.ask()
    assert (asking.asked(), asking.events(grant)) == (1, [])
    assert told(grant)["again_in_seconds"] == 60
    for _ in range(6):
        asking.due_again()
        asking.ask()
    assert asking.asked() == 4
    assert [data["code"] for data in asking.events(grant)] == ["http_500"]


def test_one_that_recovers_gives_the_labels_late(asking: Asking) -> None:
    grant = asking.consent(asking.client(), "hotel-1")
    asking.simulator.add_fault("status", where="all", status=503, when="before", count=1)
    asking.ask()
    asking.due_again()
    asking.ask()
    assert asking.labels(grant) == {"org": ["hotel-1"]}


def test_what_an_operator_set_is_never_touched_and_nothing_is_asked_for_it(asking: Asking) -> None:
    grant = asking.consent(asking.client(), "hotel-1", labels={"org": ["mine"]})
    asking.ask()
    assert (asking.labels(grant), asking.asked()) == ({"org": ["mine"]}, 0)
    assert told(grant) == {"code": "already_set"}


def test_what_an_operator_sets_while_the_api_is_asked_wins(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    client = asking.client(labels_at=AT | {"name": "data.*.attributes.name"})
    grant = asking.consent(client, "hotel-1")

    read = asked_labels.lock_labels

    def set_meanwhile(connection: Any, grant_id: UUID) -> Any:
        label.keep(connection, {grant_id: {"org": "mine"}})
        return read(connection, grant_id)

    monkeypatch.setattr(asked_labels, "lock_labels", set_meanwhile)
    asking.ask()
    assert asking.labels(grant) == {"org": ["mine"], "name": ["Hotel hotel-1"]}
    assert asking.events(grant) == [{"code": "kept", "kept": ["name"], "left_as_set": ["org"]}]


def test_a_consent_that_follows_brings_what_was_added_to_labels_that_nobody_set(asking: Asking) -> None:
    client = asking.client()
    asking.consent(client, "hotel-1")
    asking.ask()
    anew = asking.consent(client, "hotel-1", "hotel-2")
    assert asking.labels(anew) == {"org": ["hotel-1"]}
    asking.ask()
    assert asking.labels(anew) == {"org": ["hotel-1", "hotel-2"]}
    with transaction() as connection:
        operator_actions.set_grant(connection, anew, labels={"org": ["mine"]}, keep=None, who="tests")
    last = asking.consent(client, "hotel-3")
    asking.ask()
    assert asking.labels(last) == {"org": ["mine"]}


def test_a_process_that_dies_while_it_asks_loses_nothing(asking: Asking) -> None:
    client = asking.client()
    grant = asking.consent(client, "hotel-1")
    with transaction() as connection:
        assert len(asked_labels.claim(connection, client, 5, lease=timedelta(minutes=2))) == 1
    asking.ask()
    assert asking.labels(grant) == {}
    asking.harness.later(minutes=3)
    asking.ask()
    assert asking.labels(grant) == {"org": ["hotel-1"]}


def test_two_workers_ask_once(asking: Asking) -> None:
    client = asking.client()
    asking.consent(client)
    with transaction() as first, transaction() as second:
        assert len(asked_labels.claim(first, client, 5, lease=timedelta(minutes=2))) == 1
        assert asked_labels.claim(second, client, 5, lease=timedelta(minutes=2)) == []


@pytest.mark.parametrize(
    "change",
    [
        "update evergrant.valves set paused_by_operator = true",
        "update evergrant.valves set paused_until = clock_timestamp() + interval '1 hour'",
        "update evergrant.grants set status = 'paused'",
        "update evergrant.grants set access_expires_at = clock_timestamp()",
        "update evergrant.grants set rejected_at = clock_timestamp()",
        "update evergrant.installation set environment = 'another'",
        "update evergrant.grants set due_at = clock_timestamp() - interval '1 minute'",
    ],
    ids=["paused client", "shut valve", "paused grant", "old token", "refused token", "copied database", "late"],
)
def test_none_is_asked_about_that_must_not_or_cannot_be(asking: Asking, change: str) -> None:
    asking.consent(asking.client())
    asking.harness.run(change)
    asking.ask()
    assert asking.asked() == 0


def test_none_is_asked_about_whose_end_was_asked_for(asking: Asking) -> None:
    grant = asking.consent(asking.client())
    with transaction() as connection:
        operator_actions.request_revocation(connection, grant, reason=None, who="tests")
    asking.ask()
    assert asking.asked() == 0


def test_a_question_takes_a_slot_of_the_clients_rate(asking: Asking) -> None:
    client = asking.client(rate=6)
    for pair in asking.simulator.mint(refs=[f"customer-{n}" for n in range(8)], client_id="app"):
        grant = asking.harness.grant(client, pair["ref"], pair=pair, due_in=timedelta(hours=1))
        with transaction() as connection:
            asked_labels.request(connection, grant, client)
    asking.ask()
    assert 1 <= asking.asked() < 8
    tries = asking.harness.all("select tries from evergrant.asked_labels where due_at is not null")
    assert {row["tries"] for row in tries} == {0}


def test_a_row_that_somebody_has_locked_is_left_alone_and_comes_again(asking: Asking) -> None:
    grant = asking.consent(asking.client(), "hotel-1")
    with transaction() as connection:
        assert asked_labels.lock_labels(connection, grant) is not None
        asking.ask()
    assert asking.labels(grant) == {}
    asking.harness.later(minutes=3)
    asking.ask()
    assert asking.labels(grant) == {"org": ["hotel-1"]}


def test_an_address_off_the_hosts_is_never_asked(asking: Asking) -> None:
    fence = {"hosts": ["127.0.0.1", "*.hotels.example"], "private_hosts": True}
    client = asking.client(labels_url="https://{chain}/organizations", **fence)
    grant = asking.consent(client, labels={"chain": ["elsewhere.example"]})
    asking.ask()
    assert (told(grant)["code"], asking.labels(grant)) == ("host_not_allowed", {"chain": ["elsewhere.example"]})


def test_an_answer_that_leads_elsewhere_is_not_followed(asking: Asking, bench: Bench) -> None:
    moved = f"HTTP/1.1 302 Found\r\nLocation: {asking.simulator.url}/v2/organizations\r\nContent-Length: 0\r\n\r\n"
    server = bench.serve(answering(moved.encode()))
    grant = asking.consent(asking.client(labels_url=server.url()))
    asking.ask()
    assert (told(grant)["code"], asking.asked(), len(server.requests)) == ("http_302", 0, 1)


def test_a_provider_without_an_address_has_no_question(asking: Asking) -> None:
    asking.consent(asking.client(labels_url=None, labels_at={}))
    assert asking.harness.all("select grant_id from evergrant.asked_labels") == []
