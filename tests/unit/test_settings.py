"""Settings: read once from the environment, frozen, every error named, no secret repeated."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

import settings
from settings import Settings, SettingsError


@pytest.fixture(autouse=True)
def _nothing_adopted() -> Iterator[None]:
    before = list(settings._current)
    settings._current.clear()
    yield
    settings._current[:] = before


def test_a_bare_machine_needs_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/somebody")
    made = settings.load()

    assert (made.database_url, made.broker_url, made.environment) == (None, None, None)
    assert made.home == Path("/home/somebody/.local/state/evergrant")
    assert made.provider_folder == made.home / "providers"


def test_the_home_follows_the_state_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/var/state")

    assert settings.load().home == Path("/var/state/evergrant")


def test_a_field_is_read_from_its_variable_with_the_unit_in_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGRANT_DISPATCH_LEASE_SECONDS", "7.5")
    monkeypatch.setenv("EVERGRANT_HORIZON_HOURS", "48")
    monkeypatch.setenv("EVERGRANT_SUSPECT_WAIT_SECONDS", "60")
    made = settings.load()

    assert (made.dispatch_lease, made.horizon) == (timedelta(seconds=7.5), timedelta(days=2))
    assert made.suspect_wait == timedelta(minutes=1)


def test_the_numbers_of_the_protocol_are_the_defaults() -> None:
    made = Settings()

    assert made.http_deadline_seconds == 30
    assert made.attempt_lease_seconds == 60
    assert made.http_deadline_seconds < made.attempt_lease_seconds
    assert made.backoff_cap_seconds == 5 * 60
    assert made.suspect_wait == timedelta(minutes=10)
    assert made.horizon == timedelta(hours=24)
    assert made.journal_hours == 48
    assert made.dead_token_days == 30
    assert made.batch_size == 100


@pytest.mark.parametrize(
    ("new", "former", "size"), [("7", None, 7), (None, "8", 8), ("7", "8", 7), ("", "8", 8), (None, None, 100)]
)
def test_the_size_of_a_batch_is_also_read_under_its_former_name_and_the_new_one_wins(
    monkeypatch: pytest.MonkeyPatch, new: str | None, former: str | None, size: int
) -> None:
    for name, value in (("EVERGRANT_BATCH_SIZE", new), ("EVERGRANT_SHEAF_SIZE", former)):
        if value is not None:
            monkeypatch.setenv(name, value)

    assert settings.load().batch_size == size
    assert settings.unknown_variables() == {}
    assert Settings(batch_size=9).batch_size == 9


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGRANT_DATABASE_URL", "")
    monkeypatch.setenv("EVERGRANT_WORKERS", "")
    made = settings.load()

    assert (made.database_url, made.workers) == (None, 1)


def test_an_unknown_variable_belongs_to_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGRANT_CLIENT_DSN", "postgresql://db/app")

    settings.load()


def test_a_misspelt_variable_is_named_with_the_one_that_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EVERGRANT_REFRESH_TOKEN_KEY_FILE", "EVERGRANT_JOURNALS_HOURS", "evergrant_workerz"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("EVERGRANT_FAVOURITE_COLOUR", "green")
    for name in ("EVERGRANT_CLIENT_DSN", "EVERGRANT_TOKEN_URL", "EVERGRANT_WORKERS", "evergrant_concurrency"):
        monkeypatch.setenv(name, "1")

    assert settings.unknown_variables() == {
        "EVERGRANT_FAVOURITE_COLOUR": None,
        "EVERGRANT_JOURNALS_HOURS": "EVERGRANT_JOURNAL_HOURS",
        "EVERGRANT_REFRESH_TOKEN_KEY_FILE": "EVERGRANT_REFRESH_TOKEN_KEYS_FILE",
        "EVERGRANT_WORKERZ": "EVERGRANT_WORKERS",
    }


@pytest.mark.parametrize(
    "url",
    [
        *("postgresql://db/app", "postgres://u:p@h:5432/d", "postgresql:///d?host=/run/pg"),
        *("postgresql://u:p@h1,h2/d", "postgresql://u:p@h1:5432,[::1]:5433/d?target_session_attrs=read-write"),
    ],
)
def test_both_names_of_postgresql_are_understood(url: str) -> None:
    assert Settings.model_validate({"database_url": url}).database_url is not None


@pytest.mark.parametrize("url", ["redis://h", "rediss://h:6380/1", "redis+socket:///run/valkey.sock?virtual_host=1"])
def test_a_broker_is_redis_by_network_or_socket(url: str) -> None:
    assert Settings.model_validate({"broker_url": url}).broker_url is not None


WRONG = {
    "DATABASE_URL": [
        *(
            "mysql://u:hunter2@h/d",
            "h/d",
            "sqlite:///hunter2",
            "postgresql://u:hunter2/x@h/d",
            "postgresql://u:p@h1:5432,h2:hunter2/d",
        ),
        *("postgresql://u:12/hunter2@h/d", "postgresql://u:p#hunter2@h/d", "postgresql://u:hunter2[@h/d"),
    ],
    "BROKER_URL": ["amqp://u:hunter2@h", "localhost:6379", "redis://:hunter2?x@h/0", "redis://:hunter2@h:port/0"],
    "WORKERS": ["0", "-1", "65", "many", "1.5"],
    "CONCURRENCY": ["0", "513"],
    "BATCH_SIZE": ["0", "501"],
    "SHEAF_SIZE": ["0", "501"],
    "IN_FLIGHT": ["0"],
    "HTTP_DEADLINE_SECONDS": ["0", "-1", "nan", "soon", "inf", "1e300"],
    "LOG_LEVEL": ["LOUD", "info "],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_value_is_one_sentence_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"EVERGRANT_{name}", value)

    with pytest.raises(SettingsError) as caught:
        settings.load()

    assert f"EVERGRANT_{name}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_wrong_variable_is_named_at_once_and_no_value_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGRANT_DATABASE_URL", "mysql://u:hunter2@h/d")
    monkeypatch.setenv("EVERGRANT_BROKER_URL", "amqp://u:hunter2@h")
    monkeypatch.setenv("EVERGRANT_WORKERS", "hunter2")

    with pytest.raises(SettingsError) as caught:
        settings.load()

    for name in ("DATABASE_URL", "BROKER_URL", "WORKERS"):
        assert f"EVERGRANT_{name}" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_user_without_a_home_folder_is_told_to_name_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVERGRANT_HOME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # it knows no number

    with pytest.raises(SettingsError, match="EVERGRANT_HOME: must be set"):
        settings.load()


def test_settings_are_read_once_and_never_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGRANT_WORKERS", "3")
    first = settings.current()
    monkeypatch.setenv("EVERGRANT_WORKERS", "4")

    assert settings.current() is first
    with pytest.raises(ValidationError):
        first.workers = 5  # type: ignore[misc]


def test_a_process_may_adopt_others_before_it_begins() -> None:
    other = Settings(workers=2)
    settings.adopt(other)

    assert settings.current() is other


def test_no_secret_is_in_the_repr() -> None:
    made = Settings.model_validate(
        {
            "database_url": "postgresql://u:hunter2@h/d",
            "broker_url": "redis://:hunter2@h",
            "refresh_token_keys": "r1:hunter2",
            "access_token_keys": "a1:hunter2",
        }
    )

    assert "hunter2" not in repr(made)
    assert "hunter2" not in str(made.model_dump())


def test_whoever_changes_something_is_the_actor_or_the_user_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().who
    monkeypatch.setenv("EVERGRANT_ACTOR", "deploy-bot")

    assert settings.load().who == "deploy-bot"


def test_every_setting_says_what_it_is_for() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


@pytest.mark.parametrize("value", ["/run/x.sock", "unix:/run/x.sock", "127.0.0.1:0", "[::1]:9465", "localhost:65535"])
def test_a_place_to_listen_is_a_socket_or_host_and_port(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGRANT_TOKEN_BIND", value)

    assert settings.load().token_bind == value


@pytest.mark.parametrize("value", ["9465", ":9465", "run/x.sock", "127.0.0.1:http", "127.0.0.1:65536", "/" + "x" * 107])
def test_anything_else_is_no_place_to_listen(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGRANT_TOKEN_BIND", value)

    with pytest.raises(SettingsError, match=r"EVERGRANT_TOKEN_BIND: .*unix socket"):
        settings.load()


def test_up_runs_web_only_where_somebody_said_where_it_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not settings.load().wants_web
    monkeypatch.setenv("EVERGRANT_OPS_BIND", "127.0.0.1:9464")
    assert settings.load().wants_web
    monkeypatch.delenv("EVERGRANT_OPS_BIND")
    monkeypatch.setenv("EVERGRANT_TOKEN_BIND", "127.0.0.1:9465")
    assert settings.load().wants_web


@pytest.mark.parametrize(
    "value", ["http://127.0.0.1:4318", "https://otlp.example/custom", "http://[::1]:4318/v1/traces"]
)
def test_a_collectors_url_is_taken(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("EVERGRANT_OTLP_ENDPOINT", value)

    assert settings.load().otlp_endpoint == value


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("collector:4318", "must be the URL of a collector"),
        ("grpc://collector:4317", "must be the URL of a collector"),
        ("http://", "must be the URL of a collector"),
        ("http://user:hunter2@collector:4318", "must hold no user, password"),
        ("http://collector:4318/?key=hunter2", "must hold no user, password"),
        ("http://collector:port", "is no URL"),
    ],
)
def test_what_is_no_collectors_url_is_told_in_one_sentence_without_it(
    monkeypatch: pytest.MonkeyPatch, value: str, sentence: str
) -> None:
    monkeypatch.setenv("EVERGRANT_OTLP_ENDPOINT", value)

    with pytest.raises(SettingsError) as refused:
        settings.load()
    assert str(refused.value).startswith(f"EVERGRANT_OTLP_ENDPOINT: {sentence}")
    assert "hunter2" not in str(refused.value)
