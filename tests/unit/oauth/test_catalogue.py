"""The catalogue: every provider file that comes with Evergrant, and how it reads what its provider says.

tests/dialects/answers.jsonl holds answers, one a line: `provider` is a file, or null for a provider without one;
`means` is what it means, or null where it is no refusal at all. Bodies are written by us; every token in them is made
up.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from tasks.oauth.facts import Confidence, read, unknown
from tasks.oauth.provider import BUNDLED, IMPLIED, Provider, load, names
from tasks.oauth.rotation import Rotation
from tasks.oauth.rules import Asked, Means, Rule
from tasks.oauth.shapes import Kind
from tasks.oauth.words import spoken

SAMPLES = Path(__file__).resolve().parents[2] / "dialects" / "answers.jsonl"
NOWHERE = Path("/nowhere")
ABOUT_THE_CALLER = {"title", "facts", "name"}


@dataclass(frozen=True)
class Sample:
    provider: str | None
    to: str
    status: int
    body: str
    means: str | None
    note: str

    def __str__(self) -> str:
        return f"{self.provider} {self.to} {self.status} {self.means} {self.body[:60]}"


ALL = [Sample(**json.loads(line)) for line in SAMPLES.read_text(encoding="utf-8").splitlines()]
CATALOGUE = names(folder=NOWHERE)


@cache
def _provider(name: str) -> Provider:
    return load(name, folder=NOWHERE)


def test_the_catalogue_holds_more_than_forty_providers() -> None:
    assert len(CATALOGUE) > 46
    assert [name for name in CATALOGUE if not _provider(name).title] == []


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_value_of_a_file_says_where_it_is_known_from(name: str) -> None:
    found = _provider(name)
    told = {fact.partition(".")[0] for fact in found.facts}

    implied = set() if found.kind is Kind.CODE else IMPLIED[found.kind].keys()
    assert found.model_fields_set - ABOUT_THE_CALLER - implied - told == set()
    assert told - Provider.model_fields.keys() == set()


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_fact_is_a_confidence_a_date_and_a_source(name: str) -> None:
    assert [fact for fact in _provider(name).facts.values() if read(fact).confidence is None] == []


@pytest.mark.parametrize(
    ("facts", "missing"),
    [
        ({}, True),
        ({"rotation": "guessed 2026-11-28 nobody knows"}, True),
        ({"rotation": "reported 2026-11-28 somebody says so"}, False),
        ({"rotation": "I think so"}, False),
    ],
)
def test_what_is_guessed_or_not_told_at_all_is_unknown(facts: dict[str, str], missing: bool) -> None:
    assert ("rotation" in unknown(Provider(name="x", facts=facts))) is missing


def test_what_a_file_without_facts_says_is_known() -> None:
    assert "rotation" not in unknown(Provider(name="x", rotation=Rotation.NONE))


def test_a_fact_may_tell_that_there_is_nothing_to_set() -> None:
    told = {"refresh_idle_days": "documented 2026-11-28 it has no end"}

    assert "refresh life" not in unknown(Provider(name="x", facts=told))


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_file_begins_with_what_is_particular_about_the_provider(name: str) -> None:
    first = (BUNDLED / f"{name}.toml").read_text(encoding="utf-8").splitlines()[0]

    assert first.startswith("# ")
    assert len(first) > 40


def test_event_temples_rotation_is_told_as_a_guess() -> None:
    found = _provider("event-temple")

    assert (found.rotation, found.scope_separator) == (Rotation.ON_USE, ",")
    assert found.facts["rotation"].startswith(Confidence.GUESSED)


def test_a_family_that_is_merely_feared_is_told_as_a_guess() -> None:
    told = {name for name in CATALOGUE if _provider(name).facts.get("rotation", "").startswith(Confidence.GUESSED)}
    cautious = {name for name in told if _provider(name).rotation is Rotation.FAMILY}

    assert told - cautious == {"event-temple"}
    assert len(cautious) > 10


def test_no_rule_blames_a_grant_for_a_race_at_salesforce() -> None:
    rules = [each for each in _provider("salesforce").answers if each.to is Asked.REFRESH]

    assert [each.means for each in rules][:2] == [Means.RACE, Means.RACE]


def test_there_are_samples_of_both_tables_and_invented_ones() -> None:
    assert len(ALL) > 250
    assert len([each for each in ALL if each.note.startswith("invented")]) > 20
    assert {each.provider for each in ALL} - {None} <= set(CATALOGUE)
    assert {each.means for each in ALL} - {None} == {each.value for each in Means}


def test_every_rule_is_spoken_by_a_sample_or_repeats_one_of_another_request() -> None:
    silent = [
        f"{name}: {rule.to} {rule.where or rule.status}"
        for name in CATALOGUE
        for rule in _provider(name).answers
        if not any(_fits(rule, each, of_any_request=True) for each in ALL if each.provider == name)
    ]

    assert silent == []


@pytest.mark.parametrize("sample", [each for each in ALL if each.provider], ids=str)
def test_an_answer_is_read_as_what_it_means(sample: Sample) -> None:
    assert _read(sample) == sample.means, sample.note


HARMLESS = {
    "a success": (200, '{"access_token":"a","token_type":"bearer","refresh_token":"r","expires_in":60}'),
    "ill": (500, '{"error":"server_error"}'),
    "ill with a 4xx": (400, '{"error":"temporarily_unavailable"}'),
    "a page of a gateway": (502, "<html><title>502 Bad Gateway</title></html>"),
    "nothing": (503, ""),
    "throttled": (429, '{"error":"too_many_requests"}'),
    "our secret": (401, '{"error":"invalid_client","error_description":"Client authentication failed"}'),
    "our request": (400, '{"error":"unsupported_grant_type"}'),
}


@pytest.mark.parametrize("name", CATALOGUE)
@pytest.mark.parametrize(("status", "body"), HARMLESS.values(), ids=HARMLESS.keys())
def test_no_rule_takes_an_illness_or_a_fault_of_ours_for_a_death(name: str, status: int, body: str) -> None:
    sample = Sample(name, "refresh", status, body, None, "")

    assert _read(sample) not in ("dead", "consent")


def _read(sample: Sample) -> str | None:
    if sample.provider is not None and sample.to in set(Asked):
        body, rules = sample.body.encode(), _provider(sample.provider).answers
        found = spoken(rules, Asked(sample.to), status=sample.status, body=body)
        if found is not None:
            return found.rule.means.value
    return _by_the_rfc(sample)


def _by_the_rfc(sample: Sample) -> str | None:  # noqa: PLR0911  # one a row
    """What stands below all rules: RFC 6749 §5.2, RFC 6750 §3.1, RFC 7662 §2.2, and the statuses."""
    error = dict(_members(sample)).get("error")
    match sample.to, sample.status, error:
        case "introspect", 200, _:
            return "dead"
        case _, status, _ if status == 429:
            return "throttled"
        case _, status, _ if status >= 500 or status == 408:
            return "ill"
        case _, status, None if status < 300:
            return None
        case "api", 401, _:
            return "dead"
        case "refresh", 400, "invalid_grant":
            return "dead"
        case "code", 400, "invalid_grant":
            return "consent"
        case _, _, "invalid_scope":
            return "scope"
        case _:
            return "ours"


def _fits(rule: Rule, sample: Sample, *, of_any_request: bool = False) -> bool:
    asked = of_any_request or rule.to == sample.to
    members = dict(_members(sample))
    return (
        asked
        and rule.fits_status(sample.status)
        and all(fnmatchcase(members.get(path, ""), wanted) for path, wanted in rule.where.items())
    )


def _members(sample: Sample) -> Iterator[tuple[str, str]]:
    """Every path into an answer and what stands there; the empty path is the whole."""
    yield "", sample.body
    try:
        whole = json.loads(sample.body)
    except ValueError:
        yield from parse_qsl(sample.body)
        return
    yield from _paths(whole)


def _paths(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    match value:
        case dict():
            parts = [(str(key), each) for key, each in value.items()]
        case list():
            parts = [(str(at), each) for at, each in enumerate(value)]
        case _:
            if path:
                yield path, str(value)
            return
    for key, each in parts:
        yield from _paths(each, f"{path}.{key}" if path else key)
