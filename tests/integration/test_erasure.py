"""Erasing: afterwards nothing tells whose a grant was, neither a dump of the schema nor the home."""

import json
import os
from datetime import timedelta
from uuid import UUID

from models import connect_request, dead_letter, erasure, operator_actions
from models.database import transaction
from models.sealing.keys import VaultError
from simulator.control import SimulatorControl
from tasks import erase
from tasks.runtime import clock
from tasks.settling import recover, replay
from tests.harness import Harness
from tests.integration.revoking import chain, client_of, end, found, living, mint, stray

REF = "customer"
SECRETIVE = {"org": ["organization-of-theirs"]}
SAID = ("customer", "organization-of-theirs", "they-left-us", "key-of-theirs", "detail-of-theirs")


def erase_now(harness: Harness) -> None:
    """The chore."""
    with transaction() as connection:
        erase.erase(connection, harness.runtime.journal)


def dump(harness: Harness) -> str:
    """Every row of every table, as text."""
    tables = harness.all("select tablename from pg_tables where schemaname = 'evergrant'")
    rows = [
        row["text"]
        for table in tables
        for row in harness.all(f"select t::text as text from evergrant.{table['tablename']} t")  # noqa: S608
    ]
    return "\n".join(rows)


def traces(harness: Harness) -> list[str]:
    """What still tells whose it was, in the schema or in the home."""
    told = dump(harness)
    held = b"".join(path.read_bytes() for path in harness.settings.home.rglob("*") if path.is_file())
    texts = [text for text in SAID if text in told or text.encode().hex() in told]
    return texts + [text for text in SAID if text.encode() in held]


def well_known(harness: Harness, simulator: SimulatorControl) -> tuple[int, UUID]:
    """A grant that left its name wherever a name can be left."""
    client = client_of(harness, simulator)
    grant = chain(harness, simulator, client, 3)
    stray(harness, grant, mint(simulator, "second"))
    harness.set(grant, labels=json.dumps(SECRETIVE))
    with transaction() as connection:
        operator_actions.set_grant(connection, grant, labels=SECRETIVE, keep=None, who="tests")
        operator_actions.request_refresh(connection, grant, who="tests")
        dead_letter.write(
            connection,
            grant,
            kind="refresh",
            cause="gave_up",
            detail="detail-of-theirs",
            attempts=1,
            first_failed_at=clock.wall(),
        )
        beginning = connect_request.Beginning(
            grant_id=UUID(int=7),
            client_id=client,
            ref=REF,
            state_hash=b"hash",
            sealed_verifier=b"verifier",
            redirect_uri="http://127.0.0.1/",
            scopes=[],
            labels=SECRETIVE,
            who="tests",
            lives=timedelta(minutes=15),
        )
        connect_request.begin(connection, [beginning])
    return client, grant


def ask_for_erasure(harness: Harness) -> None:
    harness.run(
        """select evergrant.request_revocation('customer', reason => 'they-left-us',
            idempotency_key => 'key-of-theirs', erase => true)"""
    )


def test_nothing_tells_whose_an_erased_grant_was(harness: Harness, simulator: SimulatorControl) -> None:
    client, grant = well_known(harness, simulator)
    assert set(traces(harness)) == {*SAID} - {"they-left-us", "key-of-theirs"}
    fingerprint = harness.row(grant)["refresh_fingerprint"]
    ask_for_erasure(harness)
    end(harness, client)
    erase_now(harness)
    assert traces(harness) == []
    assert living(simulator) == []
    row = harness.row(grant)
    assert (row["id"], row["status"], row["refresh_fingerprint"]) == (grant, "revoked", fingerprint)
    assert harness.one("select status, evidence from evergrant.revocations") == {
        "status": "done",
        "evidence": "verified",
    }
    assert harness.events(grant_id=grant)[-1] == "grant.erased"


def test_nothing_is_erased_while_the_grant_may_live(harness: Harness, simulator: SimulatorControl) -> None:
    client, grant = well_known(harness, simulator)
    ask_for_erasure(harness)
    simulator.set_secret("app", "another")
    end(harness, client)
    harness.later(hours=25)
    harness.run("update evergrant.valves set paused_until = null")
    end(harness, client)
    erase_now(harness)
    assert (found(harness)["status"], harness.row(grant)["ref"]) == ("dead", REF)
    with transaction() as connection:
        assert erasure.erased(connection, [grant]) == set()


def test_the_earlier_grants_of_a_ref_are_erased_with_it(harness: Harness, simulator: SimulatorControl) -> None:
    client = client_of(harness, simulator)
    grants = []
    for _ in range(2):
        grants.append(harness.grant(client, pair=mint(simulator), labels=SECRETIVE))
        harness.run("select evergrant.request_revocation('customer')")
        end(harness, client)
        harness.later(minutes=1)
    grants.append(harness.grant(client, pair=mint(simulator), labels=SECRETIVE))
    ask_for_erasure(harness)
    end(harness, client)
    erase_now(harness)
    assert {harness.row(each)["status"] for each in grants} == {"revoked"}
    assert traces(harness) == []


def test_a_grant_that_was_revoked_long_ago_can_still_be_erased(harness: Harness, simulator: SimulatorControl) -> None:
    client = client_of(harness, simulator)
    harness.grant(client, pair=mint(simulator), labels=SECRETIVE)
    harness.run("select evergrant.request_revocation('customer', reason => 'they-left-us')")
    end(harness, client)
    erase_now(harness)
    assert "customer" in traces(harness)
    ask_for_erasure(harness)
    erase_now(harness)
    assert traces(harness) == []


def test_a_new_customer_of_the_same_ref_is_left_alone(harness: Harness, simulator: SimulatorControl) -> None:
    client = client_of(harness, simulator)
    harness.grant(client, pair=mint(simulator))
    ask_for_erasure(harness)
    end(harness, client)
    new = harness.grant(client, pair=mint(simulator))
    erase_now(harness)
    assert harness.row(new)["ref"] == REF
    assert len(harness.all("select id from evergrant.grants where ref = 'customer'")) == 1


def test_a_restored_database_erases_again_what_a_journal_noted(harness: Harness, simulator: SimulatorControl) -> None:
    client = client_of(harness, simulator)
    grant = harness.grant(client, pair=mint(simulator), labels=SECRETIVE)
    before = dict(harness.row(grant))
    ask_for_erasure(harness)
    end(harness, client)
    erase_now(harness)
    harness.run("truncate evergrant.revocations, evergrant.erasures, evergrant.events cascade")
    restored = ("ref", "status", "sealed_refresh_token", "sealed_access_token")
    harness.set(grant, labels=json.dumps(SECRETIVE), **{name: before[name] for name in restored})
    recover._end_again(harness.runtime.journal)
    assert harness.row(grant)["status"] == "revoked"
    erase_now(harness)
    assert traces(harness) == []


def test_fingerprints_are_forgotten_when_journals_are(harness: Harness, simulator: SimulatorControl) -> None:
    client = client_of(harness, simulator)
    grant = chain(harness, simulator, client, 2)
    ask_for_erasure(harness)
    end(harness, client)
    erase_now(harness)
    hours = harness.settings.journal_hours
    harness.run("update evergrant.erasures set erased_at = erased_at - interval '1 h' * :hours", hours=hours - 1)
    erase_now(harness)
    assert harness.row(grant)["refresh_fingerprint"] is not None
    harness.run("update evergrant.erasures set erased_at = erased_at - interval '2 h'")
    erase_now(harness)
    assert (harness.row(grant)["refresh_fingerprint"], harness.row(grant)["status"]) == (None, "revoked")
    assert harness.all("select id from evergrant.former_tokens") == []


def test_no_sealed_token_of_a_revoked_grant_is_left_in_any_table(harness: Harness, simulator: SimulatorControl) -> None:
    client, grant = well_known(harness, simulator)
    assert any(_opens(harness, grant, each) for each in _every_bytea(harness))
    harness.run("select evergrant.request_revocation('customer')")
    end(harness, client)
    assert harness.row(grant)["status"] == "revoked"
    assert not any(_opens(harness, grant, each) for each in _every_bytea(harness))


def _every_bytea(harness: Harness) -> list[bytes]:
    columns = harness.all(
        """select table_name, column_name from information_schema.columns
        where table_schema = 'evergrant' and data_type = 'bytea'"""
    )
    return [
        bytes(row["value"])
        for column in columns
        for row in harness.all(f"select {column['column_name']} as value from evergrant.{column['table_name']}")  # noqa: S608
        if row["value"]
    ]


def _opens(harness: Harness, grant: UUID, sealed: bytes) -> bool:
    for purpose in ("refresh", "access"):
        try:
            harness.runtime.vault.open(sealed, table="grants", row_id=grant, purpose=purpose)
        except VaultError:
            continue
        return True
    return False


def test_no_answer_of_a_revoked_grant_is_left_in_the_journal_after_its_retention(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = client_of(harness, simulator)
    chain(harness, simulator, client, 3)
    harness.run("select evergrant.request_revocation('customer')")
    end(harness, client)
    assert list(harness.runtime.journal.entries())
    # Ticks keep a journal going, so it begins a new segment within the hour.
    writer = harness.runtime.journal._writer
    writer._clock = lambda: clock.wall() + timedelta(hours=2)
    harness.runtime.journal.note_tick("a-tick", clock.wall())
    for path in (harness.settings.home / "journals").rglob("*"):
        os.utime(path, (0, 0))
    replay.shred_old(harness.runtime)
    assert list(harness.runtime.journal.entries()) == []
