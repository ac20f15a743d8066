"""Erasing: afterwards nothing tells whose a grant was, neither a dump of the schema nor the home."""

import json
import os
from datetime import timedelta
from uuid import UUID

from models import connect_request, dead_letter, erasure, operating
from models.database import transaction
from models.keys import VaultError
from tasks import clock, erase, recover, replay
from tests.heart import Heart
from tests.integration.revoking import chain, client_of, end, found, living, mint, stray
from worker.simulator.control import SimulatorControl

REF = "customer"
SECRETIVE = {"org": ["organization-of-theirs"]}
SAID = ("customer", "organization-of-theirs", "they-left-us", "key-of-theirs", "detail-of-theirs")


def erase_now(heart: Heart) -> None:
    """The chore."""
    with transaction() as connection:
        erase.erase(connection, lambda: heart.place)


def dump(heart: Heart) -> str:
    """Every row of every table, as text."""
    tables = heart.all("select tablename from pg_tables where schemaname = 'evergrant'")
    rows = [
        row["text"]
        for table in tables
        for row in heart.all(f"select t::text as text from evergrant.{table['tablename']} t")  # noqa: S608
    ]
    return "\n".join(rows)


def traces(heart: Heart) -> list[str]:
    """What still tells whose it was, in the schema or in the home."""
    told = dump(heart)
    held = b"".join(path.read_bytes() for path in heart.settings.home.rglob("*") if path.is_file())
    texts = [text for text in SAID if text in told or text.encode().hex() in told]
    return texts + [text for text in SAID if text.encode() in held]


def well_known(heart: Heart, simulator: SimulatorControl) -> tuple[int, UUID]:
    """A grant that left its name wherever a name can be left."""
    client = client_of(heart, simulator)
    grant = chain(heart, simulator, client, 3)
    stray(heart, grant, mint(simulator, "second"))
    heart.set(grant, labels=json.dumps(SECRETIVE))
    with transaction() as connection:
        operating.set_grant(connection, grant, labels=SECRETIVE, keep=None, who="tests")
        operating.wish_refresh(connection, grant, who="tests")
        dead_letter.write(
            connection,
            grant,
            kind="refresh",
            cause="gave_up",
            detail="detail-of-theirs",
            attempts=1,
            first_failed_at=clock.wall(),
        )
        connect_request.begin(
            connection,
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
    return client, grant


def ask_for_erasure(heart: Heart) -> None:
    heart.run(
        """select evergrant.request_revocation('customer', reason => 'they-left-us',
            idempotency_key => 'key-of-theirs', erase => true)"""
    )


def test_nothing_tells_whose_an_erased_grant_was(heart: Heart, simulator: SimulatorControl) -> None:
    client, grant = well_known(heart, simulator)
    assert set(traces(heart)) == {*SAID} - {"they-left-us", "key-of-theirs"}
    fingerprint = heart.row(grant)["refresh_fingerprint"]
    ask_for_erasure(heart)
    end(heart, client)
    erase_now(heart)
    assert traces(heart) == []
    assert living(simulator) == []
    row = heart.row(grant)
    assert (row["id"], row["status"], row["refresh_fingerprint"]) == (grant, "revoked", fingerprint)
    assert heart.one("select status, evidence from evergrant.revocations") == {"status": "done", "evidence": "verified"}
    assert heart.events(grant_id=grant)[-1] == "grant.erased"


def test_nothing_is_erased_while_the_grant_may_live(heart: Heart, simulator: SimulatorControl) -> None:
    client, grant = well_known(heart, simulator)
    ask_for_erasure(heart)
    simulator.set_secret("app", "another")
    end(heart, client)
    heart.later(hours=25)
    heart.run("update evergrant.valves set paused_until = null")
    end(heart, client)
    erase_now(heart)
    assert (found(heart)["status"], heart.row(grant)["ref"]) == ("dead", REF)
    with transaction() as connection:
        assert erasure.erased(connection, [grant]) == set()


def test_the_earlier_grants_of_a_ref_are_erased_with_it(heart: Heart, simulator: SimulatorControl) -> None:
    client = client_of(heart, simulator)
    grants = []
    for _ in range(2):
        grants.append(heart.grant(client, pair=mint(simulator), labels=SECRETIVE))
        heart.run("select evergrant.request_revocation('customer')")
        end(heart, client)
        heart.later(minutes=1)
    grants.append(heart.grant(client, pair=mint(simulator), labels=SECRETIVE))
    ask_for_erasure(heart)
    end(heart, client)
    erase_now(heart)
    assert {heart.row(each)["status"] for each in grants} == {"revoked"}
    assert traces(heart) == []


def test_a_grant_that_was_revoked_long_ago_can_still_be_erased(heart: Heart, simulator: SimulatorControl) -> None:
    client = client_of(heart, simulator)
    heart.grant(client, pair=mint(simulator), labels=SECRETIVE)
    heart.run("select evergrant.request_revocation('customer', reason => 'they-left-us')")
    end(heart, client)
    erase_now(heart)
    assert "customer" in traces(heart)
    ask_for_erasure(heart)
    erase_now(heart)
    assert traces(heart) == []


def test_a_new_customer_of_the_same_ref_is_left_alone(heart: Heart, simulator: SimulatorControl) -> None:
    client = client_of(heart, simulator)
    heart.grant(client, pair=mint(simulator))
    ask_for_erasure(heart)
    end(heart, client)
    new = heart.grant(client, pair=mint(simulator))
    erase_now(heart)
    assert heart.row(new)["ref"] == REF
    assert len(heart.all("select id from evergrant.grants where ref = 'customer'")) == 1


def test_a_restored_database_erases_again_what_a_journal_noted(heart: Heart, simulator: SimulatorControl) -> None:
    client = client_of(heart, simulator)
    grant = heart.grant(client, pair=mint(simulator), labels=SECRETIVE)
    before = dict(heart.row(grant))
    ask_for_erasure(heart)
    end(heart, client)
    erase_now(heart)
    heart.run("truncate evergrant.revocations, evergrant.erasures, evergrant.events cascade")
    restored = ("ref", "status", "sealed_refresh_token", "sealed_access_token")
    heart.set(grant, labels=json.dumps(SECRETIVE), **{name: before[name] for name in restored})
    recover._end_again(heart.place.journal)
    assert heart.row(grant)["status"] == "revoked"
    erase_now(heart)
    assert traces(heart) == []


def test_fingerprints_are_forgotten_when_journals_are(heart: Heart, simulator: SimulatorControl) -> None:
    client = client_of(heart, simulator)
    grant = chain(heart, simulator, client, 2)
    ask_for_erasure(heart)
    end(heart, client)
    erase_now(heart)
    hours = heart.settings.journal_hours
    heart.run("update evergrant.erasures set erased_at = erased_at - interval '1 h' * :hours", hours=hours - 1)
    erase_now(heart)
    assert heart.row(grant)["refresh_fingerprint"] is not None
    heart.run("update evergrant.erasures set erased_at = erased_at - interval '2 h'")
    erase_now(heart)
    assert (heart.row(grant)["refresh_fingerprint"], heart.row(grant)["status"]) == (None, "revoked")
    assert heart.all("select id from evergrant.former_tokens") == []


def test_no_sealed_token_of_a_revoked_grant_is_left_in_any_table(heart: Heart, simulator: SimulatorControl) -> None:
    client, grant = well_known(heart, simulator)
    assert any(_opens(heart, grant, each) for each in _every_bytea(heart))
    heart.run("select evergrant.request_revocation('customer')")
    end(heart, client)
    assert heart.row(grant)["status"] == "revoked"
    assert not any(_opens(heart, grant, each) for each in _every_bytea(heart))


def _every_bytea(heart: Heart) -> list[bytes]:
    columns = heart.all(
        """select table_name, column_name from information_schema.columns
        where table_schema = 'evergrant' and data_type = 'bytea'"""
    )
    return [
        bytes(row["value"])
        for column in columns
        for row in heart.all(f"select {column['column_name']} as value from evergrant.{column['table_name']}")  # noqa: S608
        if row["value"]
    ]


def _opens(heart: Heart, grant: UUID, sealed: bytes) -> bool:
    for purpose in ("refresh", "access"):
        try:
            heart.place.vault.open(sealed, table="grants", row_id=grant, purpose=purpose)
        except VaultError:
            continue
        return True
    return False


def test_no_answer_of_a_revoked_grant_is_left_in_the_journal_after_its_retention(
    heart: Heart, simulator: SimulatorControl
) -> None:
    client = client_of(heart, simulator)
    chain(heart, simulator, client, 3)
    heart.run("select evergrant.request_revocation('customer')")
    end(heart, client)
    assert list(heart.place.journal.entries())
    # Ticks keep a journal going, so it begins a new segment within the hour.
    writer = heart.place.journal._writer
    writer._clock = lambda: clock.wall() + timedelta(hours=2)
    heart.place.journal.note_tick("a-tick", clock.wall())
    for path in (heart.settings.home / "journals").rglob("*"):
        os.utime(path, (0, 0))
    replay.shred_old(heart.place)
    assert list(heart.place.journal.entries()) == []
