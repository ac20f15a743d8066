"""Chores: each that beat hands out finds something to do, and does it, in the task that a worker runs."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from celery import Celery
from sqlalchemy import text

from models import asked_labels, chore, connect_request, notice, process, ticket, webhook
from models.database import transaction
from models.states.process import ProcessKind
from models.ticket import Wanted
from models.views import overdue
from tasks import upkeep
from tasks.oauth.notice_proof import Came
from tasks.runtime import clock, presence, runtime
from tasks.settling.settle import journal_answers, settle
from tests.harness import INVALID_CLIENT, Harness, token_set
from tests.polling import eventually

IsDone = Callable[[], bool]


def a_late_grant(harness: Harness) -> IsDone:
    grant = harness.grant(harness.client(), access_left=timedelta(minutes=-1))
    return lambda: "grant.late" in harness.events(grant_id=grant)


def a_waiting_grant(harness: Harness) -> IsDone:
    """It was asked for by a process that never told what came of it, and is asked for by the next one."""
    client = harness.client()
    grant = harness.grant(client)
    harness.begin(client)
    harness.later(minutes=11)
    harness.begin(client)
    harness.later(minutes=11)
    return lambda: "grant.waiting" in harness.events(grant_id=grant)


def a_grant_that_expires(harness: Harness) -> IsDone:
    grant = harness.grant(harness.client(), consent_expires_at=clock.wall() + timedelta(days=3))
    harness.set(grant, created_at=clock.wall() - timedelta(days=300))
    return lambda: "grant.expiring" in harness.events(grant_id=grant)


def a_grant_that_died_long_ago(harness: Harness) -> IsDone:
    grant = harness.grant(harness.client(), status="needs_consent", reason="revoked_or_expired")
    harness.former(grant, "older")
    harness.run("update evergrant.grants set last_error_at = clock_timestamp() - interval '31 days'")
    sealed = """select from evergrant.grants where sealed_refresh_token is not null
        union all select from evergrant.former_tokens where sealed_refresh_token <> ''"""
    return lambda: harness.all(sealed) == []


def a_dead_grant_to_be_asked_once_more(harness: Harness) -> IsDone:
    """Nobody listens at its provider: the look is made, and brings nothing."""
    client = harness.client(token_url="http://127.0.0.1:9/token")
    harness.grant(client, status="needs_consent", reason="revoked_or_expired")
    harness.run(
        """insert into evergrant.dead_letters (kind, client_id, grant_id, ref, generation, cause, attempts,
            first_failed_at, dead_at, look_at)
        select 'refresh', client_id, id, ref, 1, 'revoked_or_expired', 2, now(), now(), now() from evergrant.grants"""
    )
    asked = "select id from evergrant.grants where claim_no >= 2 and asked_at is not null and started_at is null"
    looked = "select id from evergrant.dead_letters where looks = 1"
    return lambda: bool(harness.all(looked) and eventually(lambda: harness.all(asked)))


def a_dead_grant_to_be_erased(harness: Harness) -> IsDone:
    grant = harness.grant(harness.client())
    harness.run("select evergrant.request_revocation('customer', erase => true)")
    harness.run("update evergrant.revocations set status = 'done', evidence = 'verified'")
    harness.set(grant, status="revoked", sealed_refresh_token=None, sealed_access_token=None)
    return lambda: bool(harness.row(grant)["ref"] == f"erased-{grant}")


def a_code_flow(client: int, ref: str, grant_id: UUID, *, lives: timedelta = timedelta(minutes=15)) -> None:
    with transaction() as connection:
        beginning = connect_request.Beginning(
            grant_id=grant_id,
            client_id=client,
            ref=ref,
            state_hash=b"hash",
            sealed_verifier=b"verifier",
            redirect_uri="http://127.0.0.1/",
            scopes=[],
            labels={},
            who="tests",
            lives=lives,
        )
        connect_request.begin(connection, [beginning])


def a_code_flow_that_was_never_ended(harness: Harness) -> IsDone:
    a_code_flow(harness.client(), "customer", uuid4(), lives=timedelta(hours=-25))
    return lambda: harness.all("select id from evergrant.connect_requests") == []


def a_process_that_fell_silent(harness: Harness) -> IsDone:
    silent = uuid4()
    with transaction() as connection:
        process.see(connection, presence.of_process(silent, ProcessKind.WORKER, environment=None))
    harness.run("update evergrant.processes set seen_at = seen_at - interval '2 hours' where id = :id", id=silent)
    return lambda: harness.all("select id from evergrant.processes where id = :id", id=silent) == []


def a_notice(harness: Harness) -> IsDone:
    """Of a provider, about a grant."""
    rule = {"auth": "secret_header", "signature_header": "X-Secret", "matches": {"ref": "ref"}}
    client = harness.client(notices=[rule])
    grant, notice_id = harness.grant(client), uuid4()
    came = Came("POST", {"x-secret": "s3cret"}, b'{"ref": "customer"}').written()
    sealed = harness.runtime.vault.seal(came, table="notices", row_id=notice_id, purpose="notice")
    with transaction() as connection:
        assert notice.keep(connection, notice_id, client, sealed)
    query = "select from evergrant.refresh_requests where grant_id = :id"
    return lambda: len(harness.all(query, id=grant)) == 1


def a_grant_to_be_asked_about(harness: Harness) -> IsDone:
    """Nobody listens at its API: it is noted, and the question comes again."""
    client = harness.client(labels_url="http://127.0.0.1:9/organizations", labels_at={"org": "*.id"})
    grant = harness.grant(client, due_in=timedelta(minutes=30))
    with transaction() as connection:
        asked_labels.request(connection, grant, client)
    noted = (
        "select from evergrant.asked_labels where told ->> 'code' = 'connect_refused' and due_at > clock_timestamp()"
    )
    return lambda: len(harness.all(noted)) == 1


def an_ask_of_long_ago(harness: Harness) -> IsDone:
    harness.grant(harness.client())
    harness.run("select evergrant.request_revocation('customer')")
    harness.later(minutes=61)
    return lambda: harness.all("select from evergrant.revocation_asks") == []


def a_secret_that_is_refused(harness: Harness) -> IsDone:
    """One grant alone: its client's valve stays open."""
    client = harness.client()
    grant = harness.grant(client)
    for _ in range(2):
        harness.until_due(grant)
        harness.ask(client, INVALID_CLIENT)
    return lambda: harness.events(client_id=client)[2:] == ["client.secret_refused"]


def a_webhook_that_nothing_reaches(harness: Harness) -> IsDone:
    with transaction() as connection:
        webhook.add(connection, "https://a.example/", types=None, client_ids=None, allow_private=False, who="tests")
    harness.run("update evergrant.webhooks set failures = 9, failing_since = clock_timestamp() - interval '4 days'")
    return lambda: bool(harness.all("select from evergrant.webhooks where paused_reason = 'unreachable'"))


def a_customer_for_whom_nobody_came(harness: Harness) -> IsDone:
    """Their code has lapsed; beside them a ticket of eight days ago, and a listener of yesterday."""
    client, visit_id = harness.client(), uuid4()
    with transaction() as connection:
        for ref in ("old", "customer"):
            ticket.make(connection, client, Wanted(ref), other_account_allowed=False, who="tests")
    a_code_flow(client, "customer", visit_id)
    harness.run(
        """insert into evergrant.visits (id, ticket_id, sealed_answer, answered_at)
        select :id, id, 'sealed', clock_timestamp() - interval '11 minutes' from evergrant.tickets
        where ref = 'customer'""",
        id=visit_id,
    )
    harness.run("update evergrant.tickets set expires_at = expires_at - interval '8 days' where ref = 'old'")
    harness.run("update evergrant.installation set public_url = 'x', public_url_seen_at = now() - interval '25 hours'")
    ended = "select from evergrant.visits where reason = 'too_late' and sealed_answer is null"
    tickets, forgotten = "select from evergrant.tickets", "select from evergrant.installation where public_url is null"
    return lambda: [len(harness.all(each)) for each in (ended, tickets, forgotten)] == [1, 1, 1]


SOMETHING_TO_DO: dict[str, Callable[[Harness], IsDone]] = {
    "tell_late": a_late_grant,
    "tell_waiting": a_waiting_grant,
    "tell_expiring": a_grant_that_expires,
    "shred_dead_grants": a_grant_that_died_long_ago,
    "look_again": a_dead_grant_to_be_asked_once_more,
    "ask_labels": a_grant_to_be_asked_about,
    "erase": a_dead_grant_to_be_erased,
    "forget_connect_requests": a_code_flow_that_was_never_ended,
    "forget_asks": an_ask_of_long_ago,
    "read_notices": a_notice,
    "forget_silent_processes": a_process_that_fell_silent,
    "tell_secrets_refused": a_secret_that_is_refused,
    "tend_tickets": a_customer_for_whom_nobody_came,
    "tend_webhooks": a_webhook_that_nothing_reaches,
}


@pytest.fixture
def carry_out(harness: Harness) -> Iterator[Callable[[str], None]]:
    """What a worker makes of a message: the registered task, traced, in a process that has started."""
    harness.run("update evergrant.chores set due_at = clock_timestamp(), done_at = null")
    runtime.start(harness.settings, journal=journal_answers, settle=settle)
    task = Celery(set_as_current=False).tasks["evergrant.upkeep"]

    def carried_out(name: str) -> None:
        task.apply(args=(name,), throw=True)

    yield carried_out
    runtime.close()


@pytest.mark.parametrize("name", [*upkeep.CHORES, *upkeep.WITHOUT_TRANSACTION])
def test_a_chore_does_what_it_is_there_for(harness: Harness, carry_out: Callable[[str], None], name: str) -> None:
    is_done = SOMETHING_TO_DO[name](harness)
    assert not is_done()
    carry_out(name)
    assert is_done()
    done = harness.all("select name from evergrant.chores where done_at is not null")
    assert [row["name"] for row in done] == [name]


def test_what_is_too_much_for_a_transaction_is_told_in_several(
    harness: Harness, carry_out: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overdue, "MOST", 2)
    harness.grants(harness.client(), 5, access_left=timedelta(minutes=-1))
    carry_out("tell_late")
    assert harness.events().count("grant.late") == 5
    assert (
        harness.one("select count(distinct xmin::text) as n from evergrant.events where type = 'grant.late'")["n"] == 3
    )


def test_a_refused_secret_is_told_once_and_again_where_it_has_succeeded_since(
    harness: Harness, carry_out: Callable[[str], None]
) -> None:
    client = harness.client()
    grant = harness.grant(client)
    told = []
    for answer in (INVALID_CLIENT, INVALID_CLIENT, INVALID_CLIENT, token_set("2"), INVALID_CLIENT, INVALID_CLIENT):
        harness.until_due(grant)
        harness.ask(client, answer)
        carry_out("tell_secrets_refused")
        told.append(harness.events().count("client.secret_refused"))
    assert told == [0, 1, 1, 1, 1, 2]
    data = harness.all("select data from evergrant.events where type = 'client.secret_refused' order by id")
    assert data[0]["data"] == {"grants": 1, "credentials_no": 1}


def test_a_grant_that_somebody_writes_is_told_late_by_the_next_look(
    harness: Harness, carry_out: Callable[[str], None]
) -> None:
    """Else it might be told after the renewal that this very transaction brings."""
    held, other = harness.grants(harness.client(), 2, access_left=timedelta(minutes=-1))
    with transaction() as settling:
        settling.execute(text("select from evergrant.grants where id = :id for no key update"), {"id": held})
        carry_out("tell_late")
        assert harness.events(grant_id=other) == ["grant.late"]
        assert harness.events(grant_id=held) == []
    carry_out("tell_late")
    assert harness.events(grant_id=held) == ["grant.late"]


def test_what_beat_hands_out_are_the_chores_that_a_worker_knows_and_all_are_tried_here(
    harness: Harness, carry_out: Callable[[str], None]
) -> None:
    with transaction() as connection:
        handed_out = chore.claim(connection)
    assert sorted(handed_out) == sorted([*upkeep.CHORES, *upkeep.WITHOUT_TRANSACTION]) == sorted(SOMETHING_TO_DO)
    for name in handed_out:
        carry_out(name)
    assert harness.all("select name from evergrant.chores where done_at is null") == []
