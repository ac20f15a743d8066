import gc
import weakref
from datetime import timedelta
from pathlib import Path

import pytest

from tasks.oauth import provider as providers
from tasks.oauth.attempt_times import attempt_times
from tasks.oauth.errors import ProviderFileError, UnknownProvider
from tasks.oauth.provider import Provider, load, names
from tasks.oauth.rotation import Rotation
from tasks.oauth.shapes import Auth, Body, Reach

FIRST = ["doorkeeper", "event-temple", "generic", "simulator"]
SECOND = timedelta(seconds=1)


def test_the_bundled_providers_can_all_be_loaded(tmp_path: Path) -> None:
    bundled = names(folder=tmp_path / "absent")

    assert set(FIRST) <= set(bundled)
    assert bundled == sorted(bundled)
    assert [load(name, folder=tmp_path).name for name in bundled] == bundled


def test_event_temple_is_as_its_documentation_says(tmp_path: Path) -> None:
    temple = load("event-temple", folder=tmp_path)

    assert temple.authorize_url == "https://client.eventtemple.com/oauth/authorize"
    assert temple.token_url == "https://api.eventtemple.com/oauth/token"
    assert temple.revoke_url == "https://api.eventtemple.com/oauth/revoke"
    assert temple.api_url == "https://api.eventtemple.com/v2/bookings"
    assert (temple.body, temple.auth, temple.scope_separator) == (Body.JSON, Auth.BODY, ",")
    assert temple.scopes == ("crm_read", "crm_manage")
    assert (temple.rate, temple.default_life_seconds) == (100, 7200)
    assert (temple.headers, temple.retry_after_header) == ({"X-API-ORG": "{org}"}, "Retry-After")


def test_an_unknown_server_is_treated_with_every_caution(tmp_path: Path) -> None:
    generic = load("generic", folder=tmp_path)

    assert (generic.rotation, generic.probe, generic.revocation) == (Rotation.FAMILY, False, Reach.GRANT)
    assert (generic.body, generic.scope_separator, generic.pkce) == (Body.FORM, " ", True)


def test_the_users_own_folder_wins_over_the_bundled_files(tmp_path: Path) -> None:
    (tmp_path / "generic.toml").write_text('title = "ours"')
    (tmp_path / "acme.toml").write_text('token_url = "https://acme.example/token"')

    assert names(folder=tmp_path) == sorted(["acme", *names(folder=tmp_path / "absent")])
    assert load("generic", folder=tmp_path).title == "ours"
    assert load("acme", folder=tmp_path).token_url == "https://acme.example/token"


@pytest.mark.parametrize("name", ["nowhere", "../generic", "/etc/passwd", "", "Generic", "a\0b", "generic.toml"])
def test_an_unknown_name_is_told_with_the_known_ones(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnknownProvider, match="event-temple"):
        load(name, folder=tmp_path)


BAD_FILES = {
    "no toml": ("= 1", "Invalid statement"),
    "lists without an end": ("scopes = " + "[" * 5000, "nested too deeply"),
    "tables without an end": ("headers = " + "{a=" * 5000, "nested too deeply"),
    "a number without an end": ("burst = " + "9" * 5000, "thousands of digits"),
    "not utf-8": (b"title = '\xff'", "utf-8"),
    "an unknown field": ('tokenurl = "https://a.example"', "tokenurl: there is no such field: write token_url"),
    "its own name": ('name = "x"', "name: the file's own name"),
    "plain http": ('token_url = "http://a.example/token"', "token_url: plain http:// is allowed on loopback only"),
    "http to a lookalike": ('token_url = "http://127.0.0.1.a.example/"', "loopback only"),
    "http to a private address": ('token_url = "http://10.0.0.1/"', "loopback only"),
    "http to every address": ('token_url = "http://0.0.0.0/"', "loopback only"),
    "a relative address": ('token_url = "/oauth/token"', "absolute https"),
    "another scheme": ('token_url = "ftp://a.example/"', "absolute https"),
    "no host": ('token_url = "https:///token"', "absolute https"),
    "a user name": ('token_url = "https://u:p@a.example/"', "user name"),
    "a fragment": ('token_url = "https://a.example/#x"', "fragment"),
    "a line break": ('token_url = "https://a.example/\\r\\nX: y"', "percent-encoded"),
    "a space": ('token_url = "https://a.example/a b"', "percent-encoded"),
    "letters beyond ASCII": ('token_url = "https://ä.example/"', "percent-encoded"),
    "no port": ('token_url = "https://a.example:99999/"', "(?i)port"),
    "an unknown body": ('body = "xml"', "body: Input should be 'json' or 'form'"),
    "an unknown rotation": ('rotation = "weekly"', "rotation: Input should be"),
    "grace without seconds": ('rotation = "grace"', "needs grace_seconds"),
    "no rate": ('rate = "often"', "rate: 'often' is no rate"),
    "a rate of another unit": ('rate = "5/fortnight"', "is no rate"),
    "a rate of zero": ('rate = "0/minute"', "rate: must be between 1/day"),
    "an infinite rate": ('rate = "inf/minute"', "rate: must be between 1/day"),
    "no burst at all": ("burst = 0", "burst: Input should be greater than or equal to 1"),
    "a header's name": ('headers = { "X Y" = "{org}" }', "is no header name"),
    "a header's value": ('headers = { X = "a\\nb" }', "printable ASCII"),
    "a parameter of ours": ('authorize_parameters = { state = "x" }', "must not set state"),
    "a client's id under another name": (
        'client_id_parameter = "client_key"\nrefresh_parameters = { client_key = "x" }',
        "refresh_parameters must not set client_key",
    ),
    "a scope in a refresh": ('refresh_parameters = { scope = "x" }', "refresh_parameters must not set scope"),
    "a header of ours": ('token_headers = { authorization = "x" }', "token_headers must not set authorization"),
    "an open host without hosts": (
        'token_url = "https://{shop}.example.com/t"',
        "token_url leaves a label open in its host: add hosts",
    ),
    "an open beginning without hosts": ('revoke_url = "{base}/revoke"', "revoke_url leaves a label open in its host"),
    "an open beginning that runs on": ('refresh_url = "{base}.example.com/t"', "must go on with a slash behind {base}"),
    "an open port": (
        'token_url = "https://a.example.com:{port}/t"\nhosts = ["a.example.com"]',
        "token_url: Port could not",
    ),
    "an address outside of its hosts": (
        'api_url = "https://api.example.com/me"\nhosts = ["*.example.org"]',
        "api_url leads to api.example.com, which is not among hosts",
    ),
    "an address on this machine": (
        'api_url = "http://127.0.0.1/me"\nhosts = ["127.0.0.1"]',
        "api_url leads to 127.0.0.1: say private_hosts = true",
    ),
    "a whole domain as a host": ('hosts = ["*.com"]', "is no host"),
    "a network as a host": ('hosts = ["*.0.0.1"]', "is no host"),
    "a host with a port": ('hosts = ["example.com:80"]', "is no host"),
    "a token as a label": (
        'keep_from_answer = { t = "authed_user.access_token" }',
        "keep_from_answer.t must not name a token",
    ),
    "a code as a label": (
        'code_parameter = "spapi_oauth_code"\nkeep_from_redirect = { c = "spapi_oauth_code" }',
        "keep_from_redirect.c must not name spapi_oauth_code",
    ),
    "a host that comes too late": (
        'token_url = "{base}/t"\nhosts = ["a.example.com"]\nkeep_from_answer = { base = "base" }',
        "token_url needs base, which only its answer gives",
    ),
    "a user sent where only the redirect tells": (
        'authorize_url = "https://{shop}/a"\nhosts = ["a.example.com"]\nkeep_from_redirect = { shop = "shop" }',
        "authorize_url needs shop, which only the redirect gives",
    ),
    "a header without the token": (
        'api_header = "X-Token: token"',
        "api_header: must be a header with the token in it",
    ),
    "a header with the token twice": (
        'api_header = "X-Token: {access_token} {access_token}"',
        "api_header: must be a header with the token in it, like X-Shopify-Access-Token: {access_token}",
    ),
    "a header with a label": ('api_header = "X-Token: {access_token} {org}"', "api_header: must be a header with the"),
    "a header without a name": ('api_header = "{access_token}"', "api_header: must be a header with the token in it"),
    "a header whose name is none": ('api_header = "X Token: {access_token}"', "api_header: 'X Token' is no header"),
    "a header that others need": ('api_header = "Host: {access_token}"', "api_header must not set host"),
    "a header that is there twice": (
        'api_header = "X-Token: {access_token}"\nheaders = { x-token = "1" }',
        "headers must not set x-token: api_header does",
    ),
    "a scope with a space": ('probe_scope = "a b"', "probe_scope"),
}


@pytest.mark.parametrize(("content", "reason"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_file_that_cannot_be_used_is_named_with_the_reason(tmp_path: Path, content: str | bytes, reason: str) -> None:
    (tmp_path / "acme.toml").write_bytes(content if isinstance(content, bytes) else content.encode())

    with pytest.raises(ProviderFileError, match=reason.replace("{", r"\{")) as raised:
        load("acme", folder=tmp_path)

    assert "acme.toml" in str(raised.value)


@pytest.mark.parametrize(
    "url",
    ["https://a.example/t?x=1", "http://127.0.0.1:80/", "http://127.9.9.9/", "http://[::1]:1/", "http://localhost/"],
)
def test_https_and_loopback_addresses_are_taken(url: str) -> None:
    assert Provider(name="x", token_url=url).token_url == url


@pytest.mark.parametrize(
    ("written", "per_minute"),
    [("100/minute", 100), ("5/second", 300), ("120 / hour", 2), ("1440/day", 1), ("7", 7), (30, 30), ("none", None)],
)
def test_a_rate_is_read_as_requests_a_minute(written: object, per_minute: float | None) -> None:
    found = Provider.checked("test", {"name": "x", "rate": written}).rate

    assert found == (None if per_minute is None else pytest.approx(per_minute))


@pytest.mark.parametrize(
    ("rotation", "rate", "burst", "allowed"),
    [
        ("on_use", 100, None, 20),
        ("on_use", None, None, 2000),
        ("none", None, None, 2000),
        ("grace", None, None, 20),  # a provider that is slow for longer than the grace costs all that is under way
        ("immediate", None, None, 20),
        ("family", None, None, 20),
        ("family", None, 500, 500),
        ("on_use", None, 3, 3),
    ],
)
def test_the_burst_is_what_an_hour_of_lost_answers_may_cost(
    rotation: str, rate: float | None, burst: int | None, allowed: int
) -> None:
    habits = {"rotation": rotation, "grace_seconds": 30, "rate": rate, "burst": burst}
    found = Provider.checked("test", {"name": "x"} | habits)

    assert found.allowed_burst == allowed


def test_overrides_make_a_checked_copy(tmp_path: Path) -> None:
    temple = load("event-temple", folder=tmp_path)

    changed = temple.with_overrides(rate="5/second", rotation="immediate", token_url="https://proxy.example/t")

    assert changed.rate == pytest.approx(300)
    assert changed.rotation is Rotation.IMMEDIATE
    assert (changed.token_url, changed.revoke_url) == ("https://proxy.example/t", temple.revoke_url)
    assert (temple.rate, changed.name) == (100, "event-temple")
    assert temple.with_overrides() == temple


@pytest.mark.parametrize(
    "overrides",
    [{"token_url": "http://a.example/"}, {"rotation": "grace"}, {"nonsense": 1}, {"rate": "x"}, {"burst": -1}],
)
def test_an_override_that_cannot_be_used_is_refused(tmp_path: Path, overrides: dict[str, object]) -> None:
    with pytest.raises(ProviderFileError, match="event-temple"):
        load("event-temple", folder=tmp_path).with_overrides(**overrides)


def test_a_client_cannot_rename_its_provider() -> None:
    assert Provider(name="x").with_overrides(name="y").name == "x"


def test_overrides_survive_being_stored_as_json() -> None:
    first = Provider(name="x", rotation=Rotation.GRACE, grace_seconds=30, scopes=("a",), rate=5)

    assert Provider.model_validate_json(first.model_dump_json()) == first


def times(provider: Provider, **more: timedelta) -> tuple[float, float]:
    found = attempt_times(provider, **{"deadline": 30 * SECOND, "lease": 60 * SECOND} | more)
    return found.deadline / SECOND, found.lease / SECOND


def test_a_provider_that_asks_for_nothing_gets_the_defaults() -> None:
    assert times(Provider(name="x")) == (30, 60)


def test_a_providers_own_deadline_shortens_the_lease_alike(tmp_path: Path) -> None:
    assert times(load("simulator", folder=tmp_path)) == (5, 10)


@pytest.mark.parametrize("seconds", [0.5, 3, 10, 30, 60, 600])
def test_a_grace_leaves_room_for_one_repeat(seconds: float) -> None:
    deadline, lease = times(Provider(name="x", rotation=Rotation.GRACE, grace_seconds=seconds))

    assert deadline <= seconds / 4
    assert deadline < lease <= seconds / 2


@pytest.mark.parametrize("lease", [1, 30, 32, 60])
def test_a_lease_is_longer_than_the_deadline_and_the_slack(lease: float) -> None:
    deadline, left_alone = times(Provider(name="x"), lease=lease * SECOND, slack=2 * SECOND)

    assert left_alone > deadline + 2


def test_every_field_is_told_in_the_reference() -> None:
    page = (Path(providers.__file__).parents[2] / "docs/reference/provider-file.md").read_text(encoding="utf-8")

    assert [name for name in Provider.model_fields if name != "name" and f"`{name}`" not in page] == []
    assert all(field.description for name, field in Provider.model_fields.items() if name != "name")


def test_a_life_from_introspection_needs_an_address_to_introspect_at(tmp_path: Path) -> None:
    (tmp_path / "acme.toml").write_text('life_from = "introspection"\n')
    with pytest.raises(ProviderFileError) as refused:
        providers.read(tmp_path / "acme.toml")
    assert 'life_from "introspection" needs introspect_url: write where tokens are introspected' in str(refused.value)
    assert str(tmp_path / "acme.toml") in str(refused.value)


def test_a_life_from_elsewhere_is_refused_and_both_places_are_named(tmp_path: Path) -> None:
    (tmp_path / "acme.toml").write_text('life_from = "exp"\n')
    with pytest.raises(ProviderFileError, match=r"life_from: .*'answer' or 'introspection'"):
        providers.read(tmp_path / "acme.toml")


def test_a_file_that_cannot_be_used_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "acme.toml"
    path.write_text('rotation = "family"\nauthorize_url = "https://a.example/a b"\n', encoding="utf-8")

    def refused() -> weakref.ref[ProviderFileError]:
        with pytest.raises(ProviderFileError) as told:
            providers.read(path)
        return weakref.ref(told.value)

    left = refused()
    gc.collect()
    assert left() is None
