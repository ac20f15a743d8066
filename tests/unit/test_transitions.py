"""The table of transitions is true of the statements: none is missing, and each writes what its line says."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from models.states.grant import GrantStatus
from models.states.revocation import RevocationStatus
from models.transitions import WRITERS, Lease, Writer
from tests import statements

TABLES = tuple(WRITERS)
WRITES = re.compile(r"\b(?P<how>insert into|update) evergrant\.(?P<table>grants|revocations|\{…\})(?!\w)")
ENDED = re.compile(r"(?<!\w)(?<!distinct )(?:from|where|returning)\b")
# A statement of which a part is put in later: whoever composes another one must say of which table it is.
COMPOSED = {"models.sealing.reseal.Place": "grants"}
STATUSES: dict[str, set[str]] = {"grants": {*GrantStatus}, "revocations": {*RevocationStatus}}
ADD = "add a line of it to models/transitions.py: {}"
LINES = [(table, writer) for table, writers in WRITERS.items() for writer in writers]


@dataclass(frozen=True, slots=True)
class Written:
    """What a statement's text writes to one table: each column with what it is set to; of new rows only the columns."""

    statement: str
    table: str
    makes: bool
    columns: dict[str, str]

    @property
    def lease(self) -> set[str]:
        return {*Lease} & self.columns.keys()

    @property
    def statuses(self) -> set[str]:
        """The statuses that it names as what shall be."""
        return {*re.findall(r"'([a-z_]+)'", self.columns.get("status", ""))} & STATUSES[self.table]


def _written(each: statements.Statement) -> Iterator[Written]:
    for found in WRITES.finditer(each.text):
        table = COMPOSED[each.name] if "…" in found["table"] else found["table"]
        rest, makes = each.text[found.end() :], found["how"] != "update"
        columns = dict.fromkeys(_listed(rest), "") if makes else dict(_assignments(rest))
        yield Written(each.name, table, makes, columns)
        if makes and (conflict := re.search(r"on conflict \(.*?\) do update", rest)):
            yield Written(each.name, table, makes=False, columns=dict(_assignments(rest[conflict.end() :])))


def _listed(rest: str) -> list[str]:
    return [name.strip() for name in rest[rest.index("(") + 1 : rest.index(")")].split(",")]


def _assignments(rest: str) -> Iterator[tuple[str, str]]:
    """What stands between `set` and the next `from`, `where` or `returning`, parted at its commas."""
    text = rest[re.search(r"\bset\b", rest).end() :]  # type: ignore[union-attr]
    depth, start, at = 0, 0, 0
    while at < len(text):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        ended = depth < 0 or (depth == 0 and ENDED.match(text, at))
        if ended or (depth == 0 and text[at] == ","):
            name, _, value = text[start:at].partition("=")
            yield name.strip(), value
            start = at + 1
        if ended:
            return
        at += 1
    name, _, value = text[start:].partition("=")
    yield name.strip(), value


ALL = [written for each in statements.every() for written in _written(each)]


def test_every_statement_that_writes_a_grant_or_a_revocation_has_a_line() -> None:
    lines = {(table, writer.statement) for table, writer in LINES}
    assert len(lines) == len(LINES), "a statement has two lines about one table"

    missing = sorted({(each.table, each.statement) for each in ALL} - lines)

    assert not missing, ADD.format(missing)


def test_every_line_is_about_a_statement_that_there_is() -> None:
    gone = sorted({(table, writer.statement) for table, writer in LINES} - {(e.table, e.statement) for e in ALL})
    assert not gone, f"no such statement writes there: take its line out of models/transitions.py: {gone}"


@pytest.mark.parametrize(("table", "writer"), LINES, ids=[f"{table}-{writer.statement}" for table, writer in LINES])
def test_a_line_says_what_its_statement_writes(table: str, writer: Writer) -> None:
    written = [each for each in ALL if (each.table, each.statement) == (table, writer.statement)]
    changes = [each for each in written if not each.makes]

    assert {column for each in written for column in each.lease} == writer.lease
    assert any("status" in each.columns for each in changes) == any(before is not None for before, _ in writer.moves)
    assert any(each.makes for each in written) == any(before is None for before, _ in writer.moves)
    assert bool(changes) == bool(writer.before)
    named = {status for each in written for status in each.statuses}
    assert named <= {after for _, after in writer.moves} | writer.before


@pytest.mark.parametrize(("table", "writer"), LINES, ids=[f"{table}-{writer.statement}" for table, writer in LINES])
def test_a_line_speaks_of_its_tables_statuses_and_moves_only_what_it_may_change(table: str, writer: Writer) -> None:
    assert writer.before <= STATUSES[table]
    for before, after in writer.moves:
        assert before is None or before in writer.before
        assert after in STATUSES[table]
        assert before != after


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("update evergrant.grants g set due_at = coalesce(:now, now()) + mine.wait from mine", ["due_at"]),
        ("update evergrant.grants set a = (select b, c from d where e), status = 'x' where id = 1", ["a", "status"]),
        ("with c as (update evergrant.grants set claim_no = claim_no + 1) select 1", ["claim_no"]),
        ("update evergrant.grants set a = case when x then y end, started_at = null", ["a", "started_at"]),
        ("insert into evergrant.grants (id, status) select 1, 2", ["id", "status"]),
    ],
)
def test_the_columns_that_a_statement_writes_are_read_from_it(sql: str, columns: list[str]) -> None:
    (written,) = _written(statements.Statement("some.STATEMENT", sql))
    assert list(written.columns) == columns


def test_no_other_statement_than_these_reaches_a_grant_by_a_table_that_is_put_in_later() -> None:
    composed = {
        each.name for each in statements.every() if re.search(r"(?:into|update|from) evergrant\.\{…\}", each.text)
    }
    assert composed == {*COMPOSED}
