"""`evergrant grants authorize-url | exchange | probe` against a simulated provider over real HTTP."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from threading import Barrier
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError

import settings
from models import client as clients
from models.database import transaction
from models.sealing.vault import Vault
from simulator.control import SimulatorControl
from tasks import code_exchange
from tasks import connect as flow
from tasks.connect_errors import StateUsed
from tasks.journal import left_behind, take_over
from tasks.policy.life import Finding
from tasks.probes.grant import probe
from tasks.runtime.registration import Registrations
from tasks.runtime.runtime import Runtime
from tasks.settling import consent_replay
from tests.integration.cli.evergrant import Done, Evergrant

FRESH = '{"access_token":"at2","refresh_token":"rt2","expires_in":60}'
MANY = 1000  # times: for as long as anybody asks


def visit(url: str) -> str:
    """Follow a link as a browser would, as far as the first redirect."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=30)
    connection.request("GET", f"{parts.path}?{parts.query}")
    location = connection.getresponse().getheader("Location")
    connection.close()
    assert location is not None
    return location


@pytest.fixture
def invite(connected: Evergrant) -> Callable[..., str]:
    """The callback URL that a user of this ref came back to."""

    def come_back(ref: str, *options: str) -> str:
        done = connected("grants", "authorize-url", ref, *options)
        assert done.code == 0, done.err
        return visit(done.out.strip())

    return come_back


@pytest.fixture
def exchange(connected: Evergrant) -> Callable[[str, str], Done]:
    def carry_out(ref: str, callback: str) -> Done:
        return connected("grants", "exchange", ref, "--callback-url-file", "-", "--json", stdin=callback)

    return carry_out


def test_one_refresh_token_more_than_the_provider_keeps_of_a_user_is_told(
    connected: Evergrant, invite: Any, exchange: Any, sql: Any
) -> None:
    """Google keeps a hundred: the oldest dies without a word."""
    sql("""update evergrant.clients set updated_at = clock_timestamp(),
        overrides = overrides || '{"refresh_tokens_per_user": 1}'""")

    first = exchange("a", invite("a", "--label", "user=u1"))
    other = exchange("b", invite("b", "--label", "user=u2"))
    second = exchange("c", invite("c", "--label", "user=u1"))

    assert "Beware" not in first.err + other.err
    assert "2 grants of sim have these labels, and its provider keeps 1 refresh tokens of a user" in second.err


def test_a_user_is_connected_and_the_tokens_work(
    connected: Evergrant, invite: Any, exchange: Any, provider: SimulatorControl, sql: Any
) -> None:
    done = exchange("a", invite("a", "--label", "org=8f2"))
    assert done.json == {"ref": "a", "client": "sim", "generation": 1, "how": "connected"}
    token = connected("grants", "token", "a").out.strip()
    assert provider.dead_refs({"user-1": token}) == []
    shown = connected("grants", "show", "a", "--json").json
    assert (shown["status"], shown["labels"]) == ("active", {"org": ["8f2"]})
    assert sql("select type, actor is not null from evergrant.events where grant_id is not null") == [
        ("grant.connected", True)
    ]
    assert sql("select count(*) from evergrant.journals where drained_at is null") == [(0,)]


def test_who_is_connected_has_the_life_that_only_introspection_tells(
    invite: Any, exchange: Any, provider: SimulatorControl, sql: Any
) -> None:
    provider.configure(lifetime=60, habits={"life_member": ""})
    told = {"life_from": "introspection", "introspect_url": f"{provider.url}/oauth/introspect"}
    sql(
        """update evergrant.clients set updated_at = clock_timestamp(),
            overrides = overrides || cast(:told as jsonb)""",
        told=json.dumps(told),
    )
    assert exchange("a", invite("a")).code == 0
    assert sql("select life between '58 s' and '60 s', due_at < access_expires_at from evergrant.grants") == [
        (True, True)
    ]


def test_neither_state_nor_verifier_is_readable_in_the_database(invite: Any, sql: Any) -> None:
    callback = invite("a")
    state = callback.partition("state=")[2]
    assert state not in str(sql("select * from evergrant.connect_requests"))


def test_a_state_made_for_another_ref_is_refused_and_stays_good_for_its_own(
    invite: Any, exchange: Any, provider: SimulatorControl
) -> None:
    callback = invite("a")
    done = exchange("b", callback)
    assert (done.code, done.error) == (2, "state_for_another")
    assert provider.requests(endpoint="token") == []
    assert exchange("a", callback).code == 0


def test_a_code_is_exchanged_once(invite: Any, exchange: Any, provider: SimulatorControl) -> None:
    callback = invite("a")
    assert exchange("a", callback).code == 0
    done = exchange("a", callback)
    assert (done.code, done.error) == (1, "state_used")
    assert len(provider.requests(endpoint="token")) == 1


def test_of_two_who_come_with_one_callback_at_once_one_may_send(invite: Any, provider: SimulatorControl) -> None:
    callback = flow.read_callback(invite("a"))
    runtimes = [Runtime.open(settings.current()) for _ in range(2)]
    together = Barrier(2)

    def finish(runtime: Runtime) -> str:
        together.wait()
        try:
            return code_exchange.finish(runtime, callback, client_id=1, ref="a", who="ada").how
        except StateUsed:
            return "used"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(finish, runtimes)) == ["connected", "used"]
    for runtime in runtimes:
        runtime.close()
    assert len(provider.requests(endpoint="token")) == 1


def test_a_code_is_not_sent_again_after_an_answer_that_never_came(
    invite: Any, exchange: Any, provider: SimulatorControl
) -> None:
    provider.add_fault("drop", where="token", when="after", count=1)
    callback = invite("a")
    done = exchange("a", callback)
    assert (done.code, done.error) == (75, "exchange_unclear")
    assert exchange("a", callback).error == "state_used"
    assert len(provider.requests(endpoint="token")) == 1


def test_a_code_that_provably_was_not_sent_may_be_tried_again(connected: Evergrant, invite: Any, exchange: Any) -> None:
    callback = invite("a")
    url = connected("clients", "show", "sim", "--json").json["token_url"]
    connected("clients", "set", "sim", "--token-url", "http://127.0.0.1:1/oauth/token")
    done = exchange("a", callback)
    assert (done.code, done.error) == (75, "exchange_not_sent")
    connected("clients", "set", "sim", "--token-url", url)
    assert exchange("a", callback).code == 0


@pytest.mark.parametrize(
    ("callback", "code", "error"),
    [
        ("https://app.example/cb?state=made-up&code=c", 2, "state_unknown"),
        ("https://app.example/cb?code=c", 2, "no_callback"),
        ("nonsense", 2, "no_callback"),
    ],
)
def test_a_callback_that_was_not_asked_for_is_refused(
    exchange: Any, provider: SimulatorControl, callback: str, code: int, error: str
) -> None:
    done = exchange("a", callback)
    assert (done.code, done.error) == (code, error)
    assert provider.requests(endpoint="token") == []


def test_a_callback_that_is_too_old_is_refused(invite: Any, exchange: Any, sql: Any) -> None:
    callback = invite("a")
    sql("update evergrant.connect_requests set expires_at = clock_timestamp()")
    assert exchange("a", callback).error == "state_unknown"


def test_a_user_who_says_no_is_told_as_such(invite: Any, exchange: Any, provider: SimulatorControl, sql: Any) -> None:
    provider.decide_automatically("deny")
    done = exchange("a", invite("a"))
    assert (done.code, done.error) == (3, "denied")
    assert "access_denied" in done.err
    assert sql("select count(*) from evergrant.grants") == [(0,)]


def test_a_wrong_secret_is_told_and_nothing_is_stored(
    connected: Evergrant, invite: Any, exchange: Any, sql: Any
) -> None:
    connected("clients", "set-secret", "sim", "--client-secret-file", "-", stdin="wrong")
    done = exchange("a", invite("a"))
    assert (done.code, done.error) == (1, "exchange_refused")
    assert "invalid_client" in done.err
    assert sql("select count(*) from evergrant.grants") == [(0,)]


def test_an_answer_without_a_refresh_token_is_told(
    invite: Any, exchange: Any, provider: SimulatorControl, sql: Any
) -> None:
    provider.add_fault("patch", where="token", remove=["refresh_token"])
    assert exchange("a", invite("a")).error == "no_refresh_token"
    assert sql("select count(*) from evergrant.grants") == [(0,)]


def test_nothing_is_sent_for_a_client_that_an_operator_paused(
    connected: Evergrant, invite: Any, exchange: Any, provider: SimulatorControl
) -> None:
    callback = invite("a")
    connected("clients", "pause", "sim")
    assert exchange("a", callback).error == "client_paused"
    assert provider.requests(endpoint="token") == []
    connected("clients", "resume", "sim")
    assert exchange("a", callback).code == 0


def test_no_code_is_sent_from_a_copied_database(
    connected: Evergrant, invite: Any, exchange: Any, provider: SimulatorControl, sql: Any
) -> None:
    callback = invite("a")
    sql("update evergrant.installation set system_identifier = 'of the original'")
    assert exchange("a", callback).error == "database_unfit"
    assert provider.requests(endpoint="token") == []
    connected("db", "adopt", "--yes")
    assert exchange("a", callback).code == 0


def test_a_new_consent_is_a_new_row_and_the_old_one_goes_to_its_end(
    connected: Evergrant, invite: Any, exchange: Any, sql: Any
) -> None:
    exchange("a", invite("a", "--label", "org=1"))
    connected("grants", "set", "a", "--keep", "on-demand")
    sql("update evergrant.grants set generation = 41, status = 'needs_consent', reason = 'response_lost'")
    done = exchange("a", invite("a", "--label", "tier=x"))
    assert done.json == {"ref": "a", "client": "sim", "generation": 42, "how": "reconnected"}
    rows = sql("select status, generation, labels, keep from evergrant.grants order by generation")
    assert [row[:2] for row in rows] == [("revoking", 41), ("active", 42)]
    assert rows[1][2:] == ({"org": ["1"], "tier": ["x"]}, "on-demand")
    assert sql("select reason, status from evergrant.revocations") == [("replaced", "queued")]


def test_where_one_revocation_kills_all_the_old_row_waits_for_its_successor(
    connected: Evergrant, invite: Any, exchange: Any, sql: Any
) -> None:
    folder = settings.current().provider_folder
    folder.mkdir(parents=True)
    (folder / "simulator.toml").write_text('revocation = "grant"\nbody = "json"\nscopes = ["crm_read"]')
    exchange("a", invite("a"))
    exchange("a", invite("a"))
    assert sql("select reason, status from evergrant.revocations") == [("replaced", "waiting")]
    callback = invite("a")
    connected("grants", "revoke", "a", "--yes")
    done = exchange("a", callback)
    assert (done.code, done.error) == (75, "still_revoking")
    assert connected("grants", "authorize-url", "a", "--json").error == "still_revoking"


def test_the_very_pair_again_leaves_the_row_as_it_is(
    invite: Any, exchange: Any, provider: SimulatorControl, sql: Any
) -> None:
    exchange("a", invite("a"))
    before = sql("select * from evergrant.grants")
    tokens = sql("select sealed_refresh_token, id from evergrant.grants")[0]
    same = Vault.from_settings(settings.current()).open(tokens[0], table="grants", row_id=tokens[1], purpose="refresh")
    provider.add_fault("patch", where="token", patch={"refresh_token": same})
    assert exchange("a", invite("a")).json["how"] == "unchanged"
    assert sql("select * from evergrant.grants") == before
    assert sql("select count(*) from evergrant.revocations") == [(0,)]
    held_by_a = exchange("b", invite("b"))
    assert (held_by_a.code, held_by_a.error) == (1, "pair_held")
    assert "a of client sim" in held_by_a.err
    assert sql("select * from evergrant.grants") == before


@contextmanager
def away_at(database: Engine, statement: str, *, times: int) -> Iterator[None]:
    """Lose the connection so many times, each time that such a statement is about to be sent."""
    left = iter(range(times))

    def cut(connection: Any, _cursor: Any, sent: str, *_: Any) -> None:
        if statement in sent and next(left, None) is not None:
            connection.connection.driver_connection.close()

    event.listen(database, "before_cursor_execute", cut)
    yield
    event.remove(database, "before_cursor_execute", cut)


def test_an_answer_that_the_database_did_not_take_is_stored_from_the_journal(
    connected: Evergrant, invite: Any, database: Engine, sql: Any
) -> None:
    callback = flow.read_callback(invite("a"))
    runtime = Runtime.open(settings.current())
    with away_at(database, "insert into evergrant.grants", times=MANY), pytest.raises(OperationalError):
        code_exchange.finish(runtime, callback, client_id=1, ref="a", who="ada", patience=timedelta(seconds=0.3))
    runtime.close()
    assert sql("select count(*) from evergrant.grants") == [(0,)]
    _replay(settings.current().home / "journals")
    assert connected("grants", "show", "a", "--json").json["status"] == "active"
    _replay(settings.current().home / "journals")
    assert sql("select count(*) from evergrant.grants") == [(1,)]


def test_an_exchange_that_gave_up_leaves_its_process_as_patient_as_before(
    invite: Any, exchange: Any, database: Engine, provider: SimulatorControl, sql: Any
) -> None:
    """It gave up for its whole process: what a worker settled afterwards was tried once."""
    exchange("a", invite("a"))
    ((grant_id, client_id),) = sql("select id, client_id from evergrant.grants")
    callback = flow.read_callback(invite("b"))
    runtime = Runtime.open(settings.current())
    with away_at(database, "insert into evergrant.grants", times=MANY), pytest.raises(OperationalError):
        code_exchange.finish(
            runtime, callback, client_id=client_id, ref="b", who="ada", patience=timedelta(seconds=0.1)
        )
    provider.add_fault("status", where="token", when="before", status=200, body=FRESH, count=1)
    with away_at(database, "as former_fingerprints", times=3):
        assert probe(runtime, grant_id, client_id=client_id) is Finding.REFRESHED
    runtime.close()
    assert sql("select generation from evergrant.grants") == [(2,)]


def _replay(folder: Path) -> None:
    """Store what journals hold of exchanges, as a worker on this disk does."""
    vault = Vault.from_settings(settings.current())
    for found in left_behind(folder):
        journal = take_over(folder, found.journal_id, vault=vault)
        for kept in journal.entries():
            with transaction() as connection:
                client_id = clients.id_of(connection, kept.entry.client)
                assert client_id is not None
                known = clients.known(connection, [client_id])[client_id]
                registered = Registrations(vault, settings.current()).ready(known)
                stored = consent_replay.replay(connection, kept.entry, registered, vault=vault)
                assert stored is not None
                assert stored.grant_id == UUID(kept.entry.grant_id)
        journal.close()


def test_a_probe_tells_who_lives_and_consumes_nothing(
    connected: Evergrant, invite: Any, exchange: Any, provider: SimulatorControl, sql: Any
) -> None:
    for ref in ("a", "b"):
        provider.decide_automatically("allow", user=ref)
        exchange(ref, invite(ref))
    before = sql("select ref, generation, due_at, failures from evergrant.grants order by ref")
    provider.revoke_as_user("b")
    done = connected("grants", "probe", "a", "b", "--json")
    assert [each["finding"] for each in done.lines] == ["alive", "dead"]
    assert (done.code, done.error) == (3, "probe_dead")
    after = sql("select ref, generation, due_at, failures from evergrant.grants order by ref")
    assert [row[:2] for row in after] == [row[:2] for row in before]
    assert all(abs(new[2] - old[2]).total_seconds() < 5 for new, old in zip(after, before, strict=True))
    assert sql("select count(*) from evergrant.grants where started_at is not null") == [(0,)]
    assert [each["consumed"] for each in provider.requests(outcome="invalid_scope")] == [None]


def test_a_probe_that_the_provider_takes_for_a_refresh_is_settled(
    connected: Evergrant, invite: Any, exchange: Any, provider: SimulatorControl, sql: Any
) -> None:
    exchange("a", invite("a"))
    provider.add_fault("status", where="token", when="before", status=200, body=FRESH, count=1)
    assert connected("grants", "probe", "a", "--json").json["finding"] == "refreshed"
    assert connected("grants", "token", "a").out == "at2\n"
    assert sql("select generation from evergrant.grants") == [(2,)]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, '{"error":"invalid_grant"}'),
        (400, "error=invalid_grant&error_description=expired"),
        (400, '<a href="?a=1&error=invalid_grant&b=2">'),
        (401, '{"error":"invalid_scope"}'),
        (400, "error=invalid_scope"),
    ],
)
def test_a_living_token_is_neither_dead_nor_alive_by_what_is_not_the_token_endpoints_word(
    connected: Evergrant, invite: Any, exchange: Any, provider: SimulatorControl, sql: Any, *, status: int, body: str
) -> None:
    exchange("a", invite("a"))
    before = sql("select generation, failures, suspect_at, doubt_since from evergrant.grants")
    provider.add_fault("status", where="token", when="before", status=status, body=body, count=1)
    done = connected("grants", "probe", "a", "--json")
    assert (done.code, done.error, done.json["finding"]) == (75, "probe_unclear", "unclear")
    assert sql("select generation, failures, suspect_at, doubt_since from evergrant.grants") == before
    assert sql("select count(*) from evergrant.grants where started_at is not null") == [(0,)]


@pytest.mark.parametrize(
    ("status", "body"), [(200, "<html>Back soon</html>"), (200, '{"error":"invalid_grant"}'), (408, "")]
)
def test_a_probe_that_may_have_consumed_the_token_is_unclear_and_leaves_the_grant_in_doubt(
    connected: Evergrant, invite: Any, exchange: Any, provider: SimulatorControl, sql: Any, *, status: int, body: str
) -> None:
    exchange("a", invite("a"))
    provider.add_fault("status", where="token", when="before", status=status, body=body, count=1)
    done = connected("grants", "probe", "a", "--json")
    assert (done.code, done.error, done.json["finding"]) == (75, "probe_unclear", "unclear")
    assert sql("select doubt_since is not null from evergrant.grants") == [(True,)]
    assert sql("select count(*) from evergrant.journals where drained_at is null") == [(0,)]


def test_a_probe_is_never_sent_where_the_provider_file_does_not_allow_it(temple: Evergrant, sql: Any) -> None:
    temple("clients", "add", "shop", "--provider", "generic", "--client-id", "x", "--token-url", "http://127.0.0.1:1/")
    temple.take_in("a", client="shop")
    done = temple("grants", "probe", "a", "--json")
    assert (done.code, done.error) == (2, "provider")
    assert sql("select claim_no from evergrant.grants") == [(0,)]


def test_a_grant_under_way_is_not_probed(connected: Evergrant, invite: Any, exchange: Any, sql: Any) -> None:
    exchange("a", invite("a"))
    sql("update evergrant.grants set started_at = clock_timestamp()")
    done = connected("grants", "probe", "a", "--json")
    assert (done.code, done.json["finding"]) == (75, "busy")


def test_two_token_sets_of_one_consent_are_told_and_handed_out_as_two_grants(
    connected: Evergrant, invite: Any, exchange: Any, provider: SimulatorControl, sql: Any
) -> None:
    sql("""update evergrant.clients set updated_at = clock_timestamp(),
        overrides = overrides || '{"second_token_set": {"suffix": "user", "within": "authed_user"}}'""")
    body = FRESH[:-1] + ',"authed_user":{"access_token":"at3","refresh_token":"rt3","expires_in":60}}'
    provider.add_fault("status", where="token", when="before", status=200, body=body, count=1)
    done = exchange("a", invite("a"))
    second = {"ref": "a/user", "generation": 1, "how": "connected"}
    assert done.json == {"ref": "a", "client": "sim", "generation": 1, "how": "connected", "second": second}
    assert connected("grants", "token", "a").out + connected("grants", "token", "a/user").out == "at2\nat3\n"
    assert sql("select count(*) from evergrant.journals where drained_at is null") == [(0,)]
    done = connected("grants", "authorize-url", "x" * 251)
    assert (done.code, "choose a shorter ref" in done.err) == (1, True), done.err


def test_the_ends_of_a_grant_are_shown(
    connected: Evergrant, invite: Any, exchange: Any, provider: SimulatorControl, sql: Any
) -> None:
    body = FRESH[:-1] + ',"refresh_token_expires_in":86400,"consent_expires_in":"172800"}'
    provider.add_fault("status", where="token", when="before", status=200, body=body, count=1)
    exchange("a", invite("a"))
    shown = connected("grants", "show", "a", "--json").json
    created, refresh, ends = (
        datetime.fromisoformat(shown[name]) for name in ("created_at", "refresh_expires_at", "consent_expires_at")
    )
    assert (refresh - created, ends - created) == (timedelta(days=1), timedelta(days=2))
    assert connected("grants", "list", "--expiring-within", "3d", "--json").lines == []  # in its first half
    assert connected("status", "--json").json["expiring"] == 0
    sql("update evergrant.grants set created_at = created_at - interval '2 days'")
    assert [each["ref"] for each in connected("grants", "list", "--expiring-within", "3d", "--json").lines] == ["a"]
    assert connected("grants", "list", "--expiring-within", "1d", "--json").lines == []
    assert connected("status", "--json").json["expiring"] == 1
