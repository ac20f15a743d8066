"""Addresses per grant, against a simulator over HTTP: where its labels lead, and where they do not."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from models import journal as register
from models.database import transaction
from simulator.control import SimulatorControl
from tasks import journal, refresh
from tasks.journal import Entry, Journal
from tasks.oauth.errors import LabelMissing
from tasks.oauth.messages import Request
from tasks.policy.life import Finding
from tasks.probes.grant import probe
from tasks.probes.imported import ImportedTokenProbe
from tasks.probes.rotation import probe_rotation
from tasks.revoke import RevocationAttempt, begin
from tasks.runtime import clock
from tasks.settling import confirm, replay
from tasks.settling.settle import journal_answers, settle
from tests.harness import Harness, token_set
from tests.integration.revoking import chain, client_of, confirm_registration, living, mint

Eventually = Callable[..., Any]

OWN_NETWORK: dict[str, Any] = {"hosts": ["127.0.0.1"], "private_hosts": True}
KEPT: dict[str, Any] = {
    **OWN_NETWORK,
    "refresh_url": "{base}/oauth/token",
    "keep_from_answer": {"base": "instance.url"},
}


@pytest.fixture
def refreshed(harness: Harness, eventually: Eventually) -> Callable[[int], None]:
    """Carry out the one refresh that is due, as a worker does, until its answer is settled."""
    harness.runtime.handle_answers(journal=journal_answers, settle=settle)

    def carry_out(client: int) -> None:
        attempt = harness.begin(client)
        refresh.ask(harness.runtime, attempt)
        grant = attempt.job.grant_id
        eventually(lambda: harness.row(grant)["started_at"] is None)

    return carry_out


def last_error(harness: Harness, grant: UUID) -> Any:
    row = harness.row(grant)
    return row["last_error_code"], row["failures"], row["status"], row["doubt_since"], row["suspect_at"]


def give(simulator: SimulatorControl, url: object) -> None:
    """Let every token answer hold this as `instance.url`."""
    simulator.clear_faults()
    simulator.add_fault("patch", where="token", patch={"instance": {"url": url}})


# ── where labels lead ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_grant_is_refreshed_where_its_label_says(
    harness: Harness, simulator: SimulatorControl, refreshed: Callable[[int], None]
) -> None:
    client = client_of(harness, simulator, **KEPT, token_url="http://127.0.0.1:1/oauth/token")
    grant = harness.grant(client, pair=mint(simulator), labels={"base": [f"{simulator.url}/"]})
    refreshed(client)
    assert harness.row(grant)["generation"] == 2
    assert harness.row(grant)["labels"] == {"base": [f"{simulator.url}/"]}


@pytest.mark.parametrize(
    ("labels", "code"),
    [
        ({}, "label_missing"),
        ({"base": []}, "label_missing"),
        ({"base": ["http://127.0.0.1:1", "http://127.0.0.1:2"]}, "label_ambiguous"),
        ({"base": ["https://evil.example"]}, "host_not_allowed"),
        ({"base": ["https://169.254.169.254"]}, "host_not_allowed"),
        ({"base": ["http://localhost:1"]}, "host_not_allowed"),
        ({"base": ["https://a.b@127.0.0.1"]}, "label_unfit"),
        ({"base": ["https://bücher.example"]}, "label_unfit"),
        ({"base": [".."]}, "label_unfit"),
    ],
)
def test_a_grant_whose_labels_make_no_address_is_told_and_not_blamed(
    harness: Harness,
    simulator: SimulatorControl,
    refreshed: Callable[[int], None],
    labels: dict[str, list[str]],
    code: str,
) -> None:
    client = client_of(harness, simulator, **KEPT)
    grant = harness.grant(client, pair=mint(simulator), labels=labels)
    refreshed(client)
    assert last_error(harness, grant) == (code, 1, "active", None, None)
    assert harness.row(grant)["due_at"] > clock.wall()
    assert simulator.requests() == []


def test_a_refresh_that_lacks_a_setting_says_so_and_waits(
    harness: Harness, simulator: SimulatorControl, refreshed: Callable[[int], None]
) -> None:
    client = client_of(harness, simulator, refresh_redirect_uri=True)
    grant = harness.grant(client, pair=mint(simulator))
    refreshed(client)
    assert last_error(harness, grant) == ("setting_missing", 1, "active", None, None)
    assert simulator.requests() == []


def test_a_name_of_our_own_network_is_not_asked_where_the_file_does_not_allow_that(
    harness: Harness, simulator: SimulatorControl, refreshed: Callable[[int], None]
) -> None:
    urls: dict[str, Any] = dict.fromkeys(("authorize_url", "token_url", "revoke_url", "api_url"), "{base}/oauth")
    client = client_of(harness, simulator, **urls, hosts=["localhost"])
    grants = []
    for n in range(4):
        grants.append(harness.grant(client, f"customer-{n}", labels={"base": ["http://localhost"]}))
        refreshed(client)
    assert {last_error(harness, each) for each in grants} == {("host_private", 1, "active", None, None)}
    assert harness.valve(client)["paused_until"] is None


def test_many_grants_without_an_address_shut_no_valve_and_the_others_go_on(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = client_of(harness, simulator, **KEPT)
    without = harness.grants(client, 6)
    with_one = harness.grant(client, "well", pair=mint(simulator), labels={"base": [simulator.url]})
    claimed = harness.claim(client)
    for attempt in harness.start(claimed.due):
        request = refresh.request_of(harness.runtime, attempt)
        if isinstance(request, Request):
            sending = harness.runtime.transport.send(request, deadline=timedelta(seconds=5))
            harness.settle((attempt, harness.runtime.transport.submit(sending).result()))
        else:
            harness.settle((attempt, request))
    assert {last_error(harness, each)[:2] for each in without} == {("label_missing", 1)}
    assert harness.row(with_one)["generation"] == 2
    assert (harness.valve(client)["paused_until"], harness.valve(client)["strike_grant_ids"]) == (None, [])


# ── what an answer gives ────────────────────────────────────────────────────────────────────────────────────────


def test_a_value_of_an_answer_becomes_a_label_and_the_next_refresh_goes_there(
    harness: Harness, simulator: SimulatorControl, refreshed: Callable[[int], None]
) -> None:
    client = client_of(harness, simulator, **KEPT)
    labels = {"base": [simulator.url], "org": ["o1", "o2"]}
    grant = harness.grant(client, pair=mint(simulator), labels=labels)
    give(simulator, f"{simulator.url}/eu")
    refreshed(client)
    assert harness.row(grant)["labels"] == {**labels, "base": [f"{simulator.url}/eu"]}
    harness.until_due(grant)
    request = refresh.request_of(harness.runtime, harness.begin(client))
    assert isinstance(request, Request)
    assert request.url == f"{simulator.url}/eu/oauth/token"


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("https://evil.example", "host_not_allowed"),
        ("https://127.0.0.1.evil.example", "host_not_allowed"),
        ("nonsense", "label_unfit"),
        ("x" * 1001, "not_text"),
        (7.5, "label_unfit"),
        (True, "not_text"),
    ],
)
def test_a_value_that_cannot_be_a_label_is_told_and_the_token_set_is_stored_beside_the_old_one(
    harness: Harness,
    simulator: SimulatorControl,
    refreshed: Callable[[int], None],
    value: object,
    code: str,
) -> None:
    client = client_of(harness, simulator, **KEPT)
    grant = harness.grant(client, pair=mint(simulator), labels={"base": [simulator.url]})
    give(simulator, value)
    for generation in (2, 3):
        harness.until_due(grant)
        refreshed(client)
        assert harness.row(grant)["generation"] == generation
    assert harness.row(grant)["labels"] == {"base": [simulator.url]}
    told = harness.all(
        "select data from evergrant.events where grant_id = :id and type = 'grant.label_refused'", id=grant
    )
    assert [row["data"] for row in told] == [{"refused": {"base": code}}]  # once a day, not once a refresh
    harness.later(days=1)
    harness.until_due(grant)
    refreshed(client)
    assert harness.events(grant_id=grant).count("grant.label_refused") == 2


def test_labels_of_a_token_set_that_is_surplus_are_as_old_as_it_is(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = client_of(harness, simulator, **KEPT)
    grant = harness.grant(client, labels={"base": ["http://127.0.0.1:1"]})
    late = harness.begin(client)
    harness.later(minutes=1)
    harness.ask(client, token_set("new", instance={"url": "http://127.0.0.1:2"}))
    harness.settle((late, token_set("old", instance={"url": "http://127.0.0.1:3"})))
    assert harness.row(grant)["labels"] == {"base": ["http://127.0.0.1:2"]}
    assert harness.formers(grant)["rt-old"] == "surplus"


def _entry(
    harness: Harness,
    grant: UUID,
    *,
    generation: int,
    sent: str | None,
    base: str,
    labels: dict[str, list[str]] | None = None,
) -> None:
    """Leave a journal of a process that is gone, with one answer in it."""
    folder = harness.settings.home / "journals"
    with transaction() as connection:
        journal_id = register.register(connection, host="here", process="1", above=max(journal.journal_ids(folder)))
    kept = Journal.open(folder, journal_id, vault=harness.runtime.vault)
    at = clock.wall() - timedelta(minutes=1)
    entry = Entry(
        kind="refresh" if generation else "exchange",
        grant_id=str(grant),
        client="demo",
        ref="customer",
        labels={"realm": ["r1"]} if labels is None else labels,
        generation=generation,
        fingerprint=harness.runtime.vault.fingerprint(sent) if sent else b"",
        credentials_no=1,
        started_at=at,
        received_at=at,
        status=200,
        body=token_set("x", instance={"url": base}).body,
    )
    kept.append([entry])
    kept.close()


def test_what_a_journaled_answer_gave_is_kept_when_it_is_replayed(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = client_of(harness, simulator, **KEPT)
    known = harness.grant(client, labels={"realm": ["r1"]})
    _entry(harness, known, generation=1, sent="rt-customer-1", base="http://127.0.0.1:7")
    replay.drain_others(harness.runtime)
    assert harness.row(known)["labels"] == {"realm": ["r1"], "base": ["http://127.0.0.1:7"]}


def test_a_restored_row_gets_what_its_grant_had_been_given_before(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = client_of(harness, simulator, **KEPT)
    base = "http://127.0.0.1:7"
    behind = harness.grant(client, labels={"base": ["http://127.0.0.1:6"]})
    _entry(harness, behind, generation=1, sent="rt-customer-1", base=base, labels={"base": [base]})
    replay.drain_others(harness.runtime)
    assert harness.row(behind)["labels"] == {"base": [base]}


@pytest.mark.parametrize(
    ("base", "labels"),
    [
        ("http://127.0.0.1:7", {"realm": ["r1"], "base": ["http://127.0.0.1:7"]}),
        ("https://evil.example", {"realm": ["r1"]}),
    ],
)
def test_a_replayed_consent_has_the_labels_that_came_with_it(
    harness: Harness, simulator: SimulatorControl, base: str, labels: dict[str, list[str]]
) -> None:
    client_of(harness, simulator, **KEPT)
    lost = uuid4()
    _entry(harness, lost, generation=0, sent=None, base=base)
    replay.drain_others(harness.runtime)
    assert harness.row(lost)["labels"] == labels
    assert ("grant.label_refused" in harness.events(grant_id=lost)) is ("base" not in labels)


# ── the other requests of a grant ───────────────────────────────────────────────────────────────────────────────


EVERYWHERE: dict[str, Any] = {
    **OWN_NETWORK,
    "token_url": "{base}/oauth/token",
    "revoke_url": "{base}/oauth/revoke",
    "api_url": "{base}/v2/bookings",
}


def _end(harness: Harness, client: int) -> None:
    for job in harness.claim(client).revocations:
        for attempt in begin(harness.runtime, job):
            RevocationAttempt(harness.runtime, attempt).carry_out()


def test_a_grant_is_revoked_and_seen_to_be_dead_where_its_label_says(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = client_of(harness, simulator, **EVERYWHERE)
    grant = harness.grant(client, pair=mint(simulator), labels={"base": [simulator.url], "org": ["o1"]})
    harness.run("select evergrant.request_revocation('customer')")
    _end(harness, client)
    assert harness.row(grant)["status"] == "revoked"
    assert harness.one("select evidence from evergrant.revocations")["evidence"] == "verified"
    assert living(simulator) == []


def test_a_revocation_without_an_address_is_told_and_tried_again(harness: Harness, simulator: SimulatorControl) -> None:
    client = client_of(harness, simulator, **EVERYWHERE)
    grant = harness.grant(client, pair=mint(simulator))
    harness.run("select evergrant.request_revocation('customer')")
    _end(harness, client)
    told = harness.one("select status, last_error_code, attempts from evergrant.revocations")
    assert (told["status"], told["last_error_code"], told["attempts"]) == ("queued", "label_missing", 1)
    assert simulator.requests() == []
    harness.set(grant, labels=json.dumps({"base": [simulator.url], "org": ["o1"]}))
    harness.later(minutes=10)
    _end(harness, client)
    assert harness.row(grant)["status"] == "revoked"


def test_a_revocation_goes_without_the_look_that_its_labels_lead_nowhere(
    harness: Harness, simulator: SimulatorControl
) -> None:
    more: dict[str, Any] = {**OWN_NETWORK, "api_url": "{elsewhere}/v2/bookings", "probe": False}
    client = client_of(harness, simulator, **more)
    harness.grant(client, pair=mint(simulator), labels={"elsewhere": ["https://evil.example"]})
    harness.run("select evergrant.request_revocation('customer')")
    _end(harness, client)
    assert harness.one("select evidence from evergrant.revocations")["evidence"] == "accepted"
    assert living(simulator) == []


def test_a_new_access_token_is_presented_where_the_label_says(harness: Harness, simulator: SimulatorControl) -> None:
    client = client_of(harness, simulator, **OWN_NETWORK)
    grant = chain(harness, simulator, client, 3)
    harness.run(
        """update evergrant.grants set labels = jsonb_build_object('base', jsonb_build_array(cast(:url as text)))""",
        url=simulator.url,
    )
    registered = confirm_registration(harness, simulator, client, address="{base}/oauth/token/info")
    harness.later(minutes=1)
    harness.set(grant, due_at=clock.wall() + timedelta(hours=1))
    confirm.confirm(harness.runtime, registered, [grant])
    assert len(living(simulator)) == 1


def test_a_confirmation_without_an_address_forgets_no_pair(harness: Harness, simulator: SimulatorControl) -> None:
    client = client_of(harness, simulator, **OWN_NETWORK)
    grant = chain(harness, simulator, client, 3)
    formers = harness.formers(grant)
    registered = confirm_registration(harness, simulator, client, address="{base}/oauth/token/info")
    harness.later(minutes=1)
    harness.set(grant, due_at=clock.wall() + timedelta(hours=1))
    confirm.confirm(harness.runtime, registered, [grant])
    assert harness.formers(grant) == formers


def test_a_probe_asks_where_the_label_says_and_gives_back_what_has_no_address(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = client_of(harness, simulator, **EVERYWHERE)
    hour = timedelta(hours=1)
    well = harness.grant(client, "well", pair=mint(simulator), labels={"base": [simulator.url]}, due_in=hour)
    without = harness.grant(client, "without", due_in=hour)
    assert probe(harness.runtime, well, client_id=client) is Finding.ALIVE
    with pytest.raises(LabelMissing):
        probe(harness.runtime, without, client_id=client)
    row = harness.row(without)
    assert (row["started_at"], row["claimed_at"], row["last_error_code"]) == (None, None, None)


def test_tokens_of_an_import_are_asked_about_where_their_line_says(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = client_of(harness, simulator, **EVERYWHERE)
    asking = ImportedTokenProbe(harness.runtime, client)
    token = mint(simulator)["refresh_token"]
    assert asking.ask(token, ref="a", labels={"base": [simulator.url]}).finding is Finding.ALIVE
    with pytest.raises(LabelMissing):
        asking.ask(token, ref="a", labels={})
    assert len(simulator.requests(endpoint="token")) == 1


def test_a_rotation_probe_goes_where_the_label_says_and_breaks_off_where_there_is_no_address(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = client_of(harness, simulator, **EVERYWHERE)
    well = harness.grant(client, "well", pair=mint(simulator), labels={"base": [simulator.url], "org": ["o1"]})
    without = harness.grant(client, "without")
    assert probe_rotation(harness.runtime, well, client_id=client).finding == "on_use"
    broken = probe_rotation(harness.runtime, without, client_id=client)
    assert (broken.finding, broken.why, broken.requests) == ("unclear", "label_missing", 0)
