"""States are words of one place, models/states: no code and no SQL spells one by itself."""

import ast
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import pytest

from models import installation
from models.states.application import KeyState, Right
from models.states.chore import ChoreName
from models.states.client import ClientState, Keep
from models.states.dead_letter import Cause, LetterKind, Resolution
from models.states.event import EventType
from models.states.former_token import PairKind
from models.states.grant import ConsentReason, GrantStatus, PauseReason
from models.states.installation import DatabaseState
from models.states.journal import JournalState
from models.states.process import ProcessKind
from models.states.revocation import Because, Evidence, OwnReason, RequestStatus, RevocationStatus
from models.states.visit import TicketState, VisitOutcome, VisitReason
from models.states.webhook import DeliveryStatus, WebhookPause, WebhookState
from models.states.word import Word
from tasks.oauth.rotation import Rotation
from tasks.policy.explanation import decided, facts, faults, machinery
from tasks.policy.rotation import RotationFinding
from tasks.policy.verdict import Death
from tests import statements

PROJECT = Path(__file__).parents[2]
KINDS: list[type[Word]] = [
    *(Because, Cause, ChoreName, ClientState, ConsentReason, DatabaseState, EventType, Evidence, GrantStatus),
    *(KeyState, Right, DeliveryStatus, WebhookPause, WebhookState),
    *(JournalState, Keep, LetterKind, OwnReason, PairKind, PauseReason, ProcessKind, Resolution, RequestStatus),
    RevocationStatus,
    *(TicketState, VisitOutcome, VisitReason),
]
# What a name of ours may be compared with, be it an attribute, a column of a row, an argument or a variable.
FIELDS: dict[str, tuple[type[StrEnum], ...]] = {
    "status": (GrantStatus, RevocationStatus, RequestStatus),
    "statuses": (GrantStatus, RevocationStatus),
    "reason": (ConsentReason, PauseReason, OwnReason, VisitReason),
    "evidence": (Evidence,),
    "kind": (LetterKind, PairKind, ProcessKind, EventType),
    "cause": (Cause,),
    "resolution": (Resolution,),
    "keep": (Keep,),
    "rotation": (Rotation,),
    "state": (ClientState, DatabaseState, JournalState, KeyState),
    "database_state": (DatabaseState,),
    "type": (EventType,),
    "outcome": (DeliveryStatus, VisitOutcome),
}
# The pair in the row is no former token, so it has no kind in the database; the statement that reads branches says so.
ONLY_IN_SQL = {"kind": {"current"}}
# Not ours: the table of the usual job that the demo runs beside us, and what the supervisor calls its children.
OTHERS = ("worker/demo/naive.py", "worker/demo/preparations.py", "worker/embedded/", "worker/cli/__init__.py")
# The kind of a journal's entry has a `Literal` of its own, which the type checker looks after.
TYPED = {"tasks/runtime/attempt.py": "kind and 'refresh'"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_word_says_what_it_means(kind: type[Word]) -> None:
    assert all(each.meaning for each in kind)
    assert len({*kind.meanings()}) == len(kind)


def test_all_words_are_tried_here() -> None:
    assert {each.__name__ for each in KINDS} == {each.__name__ for each in Word.__subclasses__()}


def test_a_word_is_plain_text_to_everybody_else() -> None:
    plain: str = "active"
    row: dict[str, int] = {GrantStatus.ACTIVE: 1}

    assert f"{GrantStatus.ACTIVE}" == plain == GrantStatus.ACTIVE
    assert repr(GrantStatus.ACTIVE) == repr(plain)
    assert row[plain] == 1
    assert GrantStatus(plain) is GrantStatus.ACTIVE


def test_what_the_policy_and_the_protocol_call_a_thing_is_what_the_database_calls_it() -> None:
    """The policy must not import models: it has words of its own for two things, and these agree."""
    assert {*map(str, Death)} == {*map(str, ConsentReason)} <= {*map(str, Cause)}
    told = {facts.ACTIVE, facts.PAUSED, facts.NEEDS_CONSENT, facts.REVOKING, facts.REVOKED}
    assert told == {*map(str, GrantStatus)}
    assert {facts.BEAT, facts.WORKER} < {*map(str, ProcessKind)}
    assert {facts.QUEUED, facts.WAITING, facts.DEAD} < {*map(str, RevocationStatus)}
    assert (faults.READ_ONLY, faults.COMMITS_NOTHING) == (installation.READ_ONLY, installation.COMMITS_NOTHING)
    assert {facts.FIT, facts.REWOUND, facts.COPIED, *machinery.STATES} == {*map(str, DatabaseState)}
    assert {*decided.DIED} == {*map(str, Death)}
    assert {decided.HANDED_OVER} == {*map(str, PauseReason)}
    assert {*map(str, Rotation)} <= {*map(str, RotationFinding)}


def _allowed(field: str) -> set[str]:
    return {str(word) for kind in FIELDS[field] for word in kind}


# Python


def _name_of(node: ast.AST) -> str | None:
    match node:
        case ast.Attribute(attr=name) | ast.Name(id=name) | ast.Subscript(slice=ast.Constant(value=str(name))):
            return name
        case _:
            return None


def _texts(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.Tuple(elts=elements) | ast.List(elts=elements) | ast.Set(elts=elements):
            for element in elements:
                yield from _texts(element)
        case ast.IfExp(body=body, orelse=orelse):
            yield from _texts(body)
            yield from _texts(orelse)
        case ast.MatchValue(value=value):
            yield from _texts(value)
        case ast.MatchOr(patterns=patterns):
            for pattern in patterns:
                yield from _texts(pattern)


Pairs = list[tuple[str | None, ast.AST]]


def _compared(node: ast.AST) -> Pairs:
    match node:
        case ast.Compare(left=left, comparators=comparators):
            sides = [left, *comparators]
            return [(_name_of(one), other) for one in sides for other in sides if one is not other]
        case ast.Match(subject=subject, cases=cases):
            return [(_name_of(subject), each.pattern) for each in cases]
        case _:
            return []


def _given(node: ast.AST) -> Pairs:
    match node:
        case ast.keyword(arg=str(name), value=value):
            return [(name, value)]
        case ast.Assign(targets=targets, value=value):
            return [(_name_of(target), value) for target in targets]
        case ast.AnnAssign(target=target, value=ast.AST() as value):
            return [(_name_of(target), value)]
        case ast.Dict(keys=keys, values=values):
            return [(key.value, value) for key, value in zip(keys, values, strict=True) if _is_text(key)]  # type: ignore[union-attr]
        case ast.arguments(args=args, defaults=defaults, kwonlyargs=kwonly, kw_defaults=kw_defaults):
            last = args[len(args) - len(defaults) :]
            both = [*zip(last, defaults, strict=True), *zip(kwonly, kw_defaults, strict=True)]
            return [(arg.arg, value) for arg, value in both if value is not None]
        case _:
            return []


def _is_text(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _beside_each_other(tree: ast.AST) -> Iterator[tuple[str, int, str]]:
    """Every text that is compared with, or given to, a name: name, line, text."""
    for node in ast.walk(tree):
        for name, other in (*_compared(node), *_given(node)):
            if name is not None:
                yield from ((name, getattr(other, "lineno", 0), text) for text in _texts(other))


def _bare(source: str) -> list[str]:
    tree = ast.parse(source)
    found = [f"{line}: {name} and {text!r}" for name, line, text in _beside_each_other(tree) if _is_word(name, text)]
    events = {str(each) for each in EventType}
    return found + [
        f"{node.lineno}: {node.value!r}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in events
    ]


def _is_word(name: str, text: str) -> bool:
    return name in FIELDS and text in _allowed(name)


@pytest.mark.parametrize("folder", ["models", "tasks", "worker"])
def test_no_code_spells_a_state_by_itself(folder: str) -> None:
    found = {}
    for path in sorted((PROJECT / folder).rglob("*.py")):
        name = str(path.relative_to(PROJECT))
        if name.startswith((*OTHERS, "models/states/")):
            continue
        bare = [each for each in _bare(path.read_text(encoding="utf-8")) if not each.endswith(TYPED.get(name, "\0"))]
        if bare:
            found[name] = bare

    assert found == {}, "say it with the word of models/states (or tasks/oauth/rotation.py)"


@pytest.mark.parametrize(
    "code",
    [
        'row.status == "active"',
        '"dead" != row["status"]',
        'status in ("active", "paused")',
        'dead_letter.close(connection, ids, kind="refresh")',
        'event.of_grants(connection, ids, "grant.paused")',
        'def f(*, status: str = "active"): ...',
        'match state:\n    case "paused" | "holding": ...',
        'keep = "warm" if x else y',
    ],
)
def test_a_state_that_code_spells_by_itself_is_found(code: str) -> None:
    assert _bare(code)


# SQL

LITERALS = r"'[^']*'|\(\s*(?:'[^']*'\s*,\s*)*'[^']*'\s*\)"
COMPARED = re.compile(
    rf"\b(?P<field>{'|'.join(FIELDS)})\s*(?:=|<>|is(?: not)? distinct from|(?:not )?in)\s*(?P<literals>{LITERALS})"
)
CASES = re.compile(rf"\bcase (?:\w+\.)?(?P<field>{'|'.join(FIELDS)}) when (?P<literals>.*?) end\b", re.DOTALL)


def _spelled(sql: str) -> Iterator[tuple[str, str]]:
    """What a statement compares a column with, or sets it to: column, literal."""
    for found in (*COMPARED.finditer(sql), *CASES.finditer(sql)):
        yield from ((found["field"], literal) for literal in re.findall(r"'([^']*)'", found["literals"]))


def _is_known(field: str, literal: str) -> bool:
    return literal in _allowed(field) | ONLY_IN_SQL.get(field, set())


def test_every_literal_that_our_sql_compares_a_state_with_is_one_of_its_words() -> None:
    spelled = [(each.name, *pair) for each in statements.every() for pair in _spelled(each.text)]
    assert len(spelled) > 100  # it reads them at all

    strange = [(name, field, literal) for name, field, literal in spelled if not _is_known(field, literal)]

    assert strange == []


def test_every_event_that_a_statement_writes_is_a_word() -> None:
    writers = [each for each in statements.every() if "insert into evergrant.events" in each.text]
    spelled = {literal for each in writers for literal in re.findall(r"'([a-z_]+\.[a-z_]+)'", each.text)}

    assert spelled
    assert spelled <= {str(each) for each in EventType}


def test_the_function_that_says_what_becomes_of_work_here_says_nothing_but_our_words() -> None:
    (function,) = [each.text for each in statements.every() if each.name == "evergrant.database_state"]

    assert {*re.findall(r"(?:then|else) '([a-z_]+)'", function)} == {str(each) for each in DatabaseState}
