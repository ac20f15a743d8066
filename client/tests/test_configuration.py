"""Where tokens come from: one of two ways, named in the environment or by argument."""

import base64
import pickle
import traceback
from pathlib import Path

import pytest

from evergrant_client import (
    AmbiguousGrant,
    Evergrant,
    EvergrantError,
    GrantRevoked,
    IdempotencyKeyTaken,
    LabelNotChosen,
    LinkRefused,
    NeedsConsent,
    NotConfigured,
    NotFreshYet,
    UnknownGrant,
    Unreachable,
)

RING = "k1:" + base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({}, "Neither EVERGRANT_CLIENT_DSN nor EVERGRANT_TOKEN_URL is set"),
        ({"CLIENT_DSN": "host=x", "TOKEN_URL": "https://y"}, "Both"),
        (
            {"CLIENT_DSN": "host=x"},
            "EVERGRANT_ACCESS_TOKEN_KEYS is not set: set it, or EVERGRANT_ACCESS_TOKEN_KEYS_FILE",
        ),
        ({"CLIENT_DSN": "host=x", "ACCESS_TOKEN_KEYS_FILE": "/nowhere"}, "_FILE cannot be read"),
        ({"TOKEN_URL": "https://y"}, "EVERGRANT_APPLICATION_KEY is not set"),
        ({"TOKEN_URL": "https://y", "APPLICATION_KEY": "two lines\nof another file"}, "holds no application key"),
        ({"TOKEN_URL": "http://tokens.example", "APPLICATION_KEY": "k"}, "in clear: use https"),
        ({"TOKEN_URL": "tokens.example", "APPLICATION_KEY": "k"}, "is no address"),
    ],
)
def test_what_is_missing_or_cannot_be_used_is_named(
    env: dict[str, str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(f"EVERGRANT_{name}", value)
    with pytest.raises(NotConfigured, match=says):
        Evergrant()


@pytest.mark.parametrize("dsn", ["postgresql+psycopg://app:hush@db/app", "postgres:/app:hush@db", "hush"])
def test_a_dsn_that_cannot_be_read_is_told_and_not_repeated(dsn: str) -> None:
    with pytest.raises(NotConfigured, match="EVERGRANT_CLIENT_DSN cannot be read") as caught:
        Evergrant(dsn=dsn, access_keys=RING)
    assert "hush" not in "".join(traceback.format_exception(caught.value))


def test_keys_come_from_a_file_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ring").write_text(f"# of the workers\n{RING}\n", encoding="utf-8")
    (tmp_path / "key").write_text("app-key\n", encoding="utf-8")
    monkeypatch.setenv("EVERGRANT_ACCESS_TOKEN_KEYS_FILE", str(tmp_path / "ring"))
    monkeypatch.setenv("EVERGRANT_APPLICATION_KEY_FILE", str(tmp_path / "key"))
    assert repr(Evergrant(dsn="host=x password=hush")) == "Evergrant(Database)"
    assert repr(Evergrant(token_url="https://tokens.example")) == "Evergrant(TokenInterface)"


def test_nothing_is_connected_to_before_the_first_use() -> None:
    made = Evergrant(dsn="host=/nowhere password=hush", access_keys=RING)
    with pytest.raises(Unreachable, match="does not answer") as caught:
        made.access_token("customer")
    assert "hush" not in str(caught.value)


ERRORS = [
    UnknownGrant("r", "c"),
    AmbiguousGrant("r", ["a", "b"]),
    NeedsConsent("r", "why", "https://x"),
    GrantRevoked("r", "revoking"),
    LabelNotChosen("r", "org", ["a", "b"]),
    IdempotencyKeyTaken("r", "k"),
    LinkRefused("20 links wait: use one of them.", 60),
    NotFreshYet("No fresh token came", 7),
    Unreachable("It does not answer"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_says_what_to_do_and_survives_pickling(error: EvergrantError) -> None:
    copied = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own
    assert (type(copied), str(copied), vars(copied)) == (type(error), str(error), vars(error))
    assert str(error).endswith(".")
    assert ":" in str(error) or "," in str(error) or isinstance(error, IdempotencyKeyTaken)
