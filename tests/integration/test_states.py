"""The database knows exactly the words that the code knows, and takes them as plain text."""

import json
import re
from enum import StrEnum
from uuid import uuid4

import pytest
from sqlalchemy import Connection, Engine, text

from models import waiting_request
from models.states.chore import ChoreName
from models.states.client import Keep
from models.states.dead_letter import LetterKind
from models.states.former_token import PairKind
from models.states.grant import GrantStatus
from models.states.installation import DatabaseState
from models.states.process import ProcessKind
from models.states.revocation import Evidence, RevocationStatus
from models.states.visit import VisitOutcome
from models.states.webhook import DeliveryStatus, WebhookPause
from tasks.oauth.rotation import Rotation

COLUMNS: dict[tuple[str, str], type[StrEnum]] = {
    ("clients", "keep"): Keep,
    ("clients", "rotation"): Rotation,
    ("dead_letters", "kind"): LetterKind,
    ("former_tokens", "kind"): PairKind,
    ("grants", "keep"): Keep,
    ("grants", "status"): GrantStatus,
    ("processes", "kind"): ProcessKind,
    ("revocations", "evidence"): Evidence,
    ("revocations", "status"): RevocationStatus,
    ("visits", "outcome"): VisitOutcome,
    ("webhooks", "paused_reason"): WebhookPause,
}
# Names of functions, not states; and of a delivery its end: one that is queued has none.
OTHERS = {
    ("waiting_requests", "function"): waiting_request.FUNCTIONS,
    ("webhook_deliveries", "outcome"): {str(each) for each in DeliveryStatus} - {DeliveryStatus.QUEUED.value},
}
CHECKS = text("""
select t.relname as table_name, c.conname as name, pg_get_constraintdef(c.oid) as definition
from pg_constraint c join pg_class t on t.oid = c.conrelid
where c.contype = 'c' and c.connamespace = 'evergrant'::regnamespace
""")
LIST_OF_WORDS = re.compile(r"CHECK \(\((?P<column>\w+) = ANY \(ARRAY\[(?P<words>.*)\]\)\)\)")


def checked_words(connection: Connection) -> dict[tuple[str, str], set[str]]:
    """Every CHECK that lists words: table and column, and the words."""
    found = {}
    for row in connection.execute(CHECKS):
        if listed := LIST_OF_WORDS.fullmatch(row.definition):
            found[row.table_name, listed["column"]] = set(re.findall(r"'([^']*)'::text", listed["words"]))
    return found


def test_each_check_lists_the_words_of_its_enumeration_and_each_enumeration_has_its_check(database: Engine) -> None:
    with database.connect() as connection:
        found = checked_words(connection)

    assert found == OTHERS | {place: {str(word) for word in kind} for place, kind in COLUMNS.items()}


def test_the_chores_in_the_database_are_those_that_have_a_name(database: Engine) -> None:
    with database.connect() as connection:
        names = connection.execute(text("select name from evergrant.chores")).scalars()
        assert {*names} == {str(each) for each in ChoreName}


def test_the_database_says_of_itself_what_has_a_name(database: Engine) -> None:
    with database.connect() as connection:
        said = connection.execute(text("select evergrant.database_state()")).scalar_one()
    assert said == DatabaseState.FIT


@pytest.mark.parametrize(
    ("query", "value", "answer"),
    [
        ("select cast(:it as text)", GrantStatus.NEEDS_CONSENT, "needs_consent"),
        ("select pg_typeof(coalesce(:it, 'a'))::text", GrantStatus.ACTIVE, "text"),
        ("select 'paused' = any (cast(:it as text[]))", [GrantStatus.ACTIVE, GrantStatus.PAUSED], True),
        ("select cast(:it as text[])", [GrantStatus.ACTIVE, "words", None], ["active", "words", None]),
        ("select cast(:it as jsonb) ->> 'a'", json.dumps({"a": GrantStatus.ACTIVE}), "active"),
        ("select cast(:it as jsonb) ->> 'active'", json.dumps({GrantStatus.ACTIVE: "a"}), "a"),
    ],
)
def test_a_word_reaches_the_database_as_its_text_and_not_by_the_name_of_its_member(
    database: Engine, query: str, value: object, answer: object
) -> None:
    with database.connect() as connection:
        assert connection.execute(text(query), {"it": value}).scalar_one() == answer


def test_a_word_is_copied_into_a_table_as_its_text(database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(text("create temporary table copied (id uuid, status text) on commit drop"))
        driver = connection.connection.driver_connection
        assert driver is not None
        with driver.cursor() as cursor, cursor.copy("copy copied (id, status) from stdin") as written:
            written.write_row((uuid4(), GrantStatus.NEEDS_CONSENT))
        assert connection.execute(text("select status from copied")).scalar_one() == "needs_consent"
