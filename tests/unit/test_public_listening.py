"""Where the public listener may listen: never in clear beyond this machine, and never without its own address."""

from pathlib import Path

import pytest

import settings
from settings import Settings, SettingsError
from worker.web.listening import public_listener

HERE = "127.0.0.1:9466"
URL = "https://connect.example.com"


def chosen(**said: object) -> Settings:
    return Settings.model_validate({"home": Path("/nowhere"), **said})


def test_it_listens_nowhere_until_somebody_says_so() -> None:
    assert public_listener(chosen()) is None
    assert public_listener(chosen(public_url=URL)) is None


@pytest.mark.parametrize(
    ("said", "variable"),
    [
        ({"public_bind": HERE}, "EVERGRANT_PUBLIC_URL"),
        ({"public_bind": HERE, "public_url": URL}, "EVERGRANT_PUBLIC_BEHIND_PROXY"),
        ({"public_bind": "0.0.0.0:9466", "public_url": "http://127.0.0.1:9466"}, "EVERGRANT_PUBLIC_BIND"),
        ({"public_bind": HERE, "public_url": URL, "public_tls_key": "/k"}, "both or neither"),
        (
            {
                "public_bind": HERE,
                "public_url": URL,
                "public_behind_proxy": True,
                "public_tls_key": "/k",
                "public_tls_certificate": "/c",
            },
            "keep one",
        ),
        (
            {"public_bind": HERE, "public_url": URL, "public_tls_key": "/k", "public_tls_certificate": "/c"},
            "EVERGRANT_PUBLIC_TLS_CERTIFICATE",
        ),
    ],
)
def test_what_would_be_in_clear_or_lead_nowhere_is_refused(said: dict[str, object], variable: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        public_listener(chosen(**said))


@pytest.mark.parametrize(
    "said",
    [
        {"public_bind": HERE, "public_url": "http://127.0.0.1:9466"},
        {"public_bind": HERE, "public_url": "http://localhost:9466"},
        {"public_bind": "/run/evergrant/public.sock", "public_url": URL, "public_behind_proxy": True},
        {"public_bind": "0.0.0.0:9466", "public_url": URL, "public_behind_proxy": True},
    ],
)
def test_loopback_while_one_develops_and_a_proxy_are_well(said: dict[str, object]) -> None:
    assert public_listener(chosen(**said)) is not None


@pytest.mark.parametrize(
    "value",
    [
        "http://connect.example.com",
        "connect.example.com",
        "https://",
        "https://user@connect.example.com",
        "https://connect.example.com/?a=b",
        "https://connect.example.com/#a",
        "ftp://connect.example.com",
        "https://connect.example.com/a b",
    ],
)
def test_an_address_that_customers_could_not_come_by_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("EVERGRANT_PUBLIC_URL", value)
    with pytest.raises(SettingsError, match="EVERGRANT_PUBLIC_URL"):
        settings.load()


def test_up_runs_web_for_customers_alone() -> None:
    assert chosen(public_bind=HERE, public_url="http://127.0.0.1:9466").wants_web
    assert not chosen(public_url=URL).wants_web


def test_an_address_is_known_without_its_last_slash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGRANT_PUBLIC_URL", f"{URL}/x/")
    assert settings.load().public_url == f"{URL}/x"
