"""The glossary defines each word once, and every word that code and contributors use for a thing of ours."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

from models.grant import Grant

ROOT = Path(__file__).resolve().parents[2]
GLOSSARY = (ROOT / "docs" / "reference" / "glossary.md").read_text(encoding="utf-8")
ENTRY = re.compile(r"^- \*\*(.+?)\*\*: ((?:.+\n)(?:  .+\n)*)", re.MULTILINE)
ENTRIES = ENTRY.findall(GLOSSARY)
WORDS = [word for word, _ in ENTRIES]

# Words in the names of modules and columns that mean here what they mean everywhere.
PLAIN = {
    *(
        "access",
        "actions",
        "arrays",
        "asked",
        "behind",
        "left",
        "threads",
        "size",
        "states",
        "word",
        "base",
        "bulk",
        "clock",
        "code",
        "created",
        "database",
    ),
    *(
        "decide",
        "disk",
        "dropped",
        "error",
        "errors",
        "ever",
        "expires",
        "for",
        "frames",
        "history",
        "http",
        "id",
        "import",
    ),
    *(
        "imported",
        "in",
        "installation",
        "last",
        "listing",
        "lock",
        "locked",
        "log",
        "loop",
        "messages",
        "metrics",
        "migrations",
        "write",
        "ended",
    ),
    *(
        "names",
        "no",
        "older",
        "oauth",
        "operator",
        "overdue",
        "policy",
        "mount",
        "process",
        "rate",
        "reading",
        "reason",
        "rejected",
        "repeated",
        "retry",
        "rows",
    ),
    *("advice", "codings", "decided", "itself", "machinery", "order", "outside", "whole"),
    *("authentication", "discovery", "fields", "paths", "proof", "shapes", "times", "tls"),
    *("scope", "since", "status", "tables", "text", "thread", "timing", "token", "transport", "use", "views", "writer"),
}
# Another form of a word that is defined.
FORMS = {
    "addresses": "address",
    "answer": "answers",
    "claimed": "claim",
    "confirmation": "confirm",
    "confirmations": "confirm",
    "unconfirmed": "confirm",
    "kinds": "kind",
    "limits": "limit",
    "erase": "erasure",
    "explain": "explanation",
    "failure": "failing",
    "failures": "failing",
    "predicates": "predicate",
    "transitions": "transition",
    "journaling": "journaled",
    "refreshed": "refresh",
    "refusal": "refused",
    "refusals": "refused",
    "revoke": "revocation",
    "sealed": "seal",
    "sealing": "seal",
    "settling": "settle",
    "started": "start",
    "telling": "teller",
}


def names() -> set[str]:
    """The words of which the modules of tasks and models are named, and the columns of a grant."""
    modules = [path.relative_to(ROOT) for top in ("tasks", "models") for path in (ROOT / top).rglob("*.py")]
    named = {part for path in modules for part in path.with_suffix("").parts[1:]} - {"__init__"}
    columns = {column.name.removesuffix("_at") for column in Grant.__table__.columns}
    return {word for name in named | columns for word in name.split("_")}


def defined(word: str) -> bool:
    parts = {part for entry in WORDS for part in (*re.split("[ -]", entry), entry)}
    return not parts.isdisjoint({word, word.removesuffix("s"), FORMS.get(word, word)})


def test_words_are_defined_once_and_stand_in_order() -> None:
    assert len(ENTRIES) == GLOSSARY.count("\n- "), "an entry is not of the form that this reads"
    assert all(one < next_one for one, next_one in pairwise(WORDS))


@pytest.mark.parametrize(("word", "meaning"), ENTRIES, ids=WORDS)
def test_a_meaning_is_short_and_leads_on(word: str, meaning: str) -> None:
    assert meaning.count("\n") <= 3, word
    assert re.search(r"\[.+\]\(.+\)\s*$", meaning), word


def test_every_word_that_contributors_are_told_to_use_is_defined() -> None:
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    listed = re.search(r"\*\*Words\.\*\*(.+?):", contributing, re.DOTALL)
    assert listed is not None
    wanted = {" ".join(word.split()) for word in listed[1].split(",")}
    assert len(wanted) > 10
    assert wanted - set(WORDS) == set()


def test_every_word_in_the_name_of_a_module_or_a_column_is_defined_or_plain() -> None:
    assert {word for word in names() if not defined(word)} - PLAIN == set()


def test_no_word_is_called_plain_that_is_defined_or_that_nothing_is_named_by() -> None:
    assert {word for word in PLAIN if word in WORDS or word not in names()} == set()
    assert {form for form, word in FORMS.items() if word not in WORDS or form == word} == set()
