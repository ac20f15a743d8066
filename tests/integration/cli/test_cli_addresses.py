"""The commands where a provider's addresses leave labels open, against a simulated provider over HTTP."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

import settings
from simulator.control import SimulatorControl
from tests.integration.cli.evergrant import Done, Evergrant
from tests.integration.cli.test_cli_connect import visit

OPEN = """
authorize_url = "{{base}}/oauth/authorize"
token_url = "{{base}}/oauth/token"
refresh_url = "{{instance}}/oauth/token"
revoke_url = "{{base}}/oauth/revoke"
api_url = "{{base}}/v2/bookings"
hosts = ["127.0.0.1"]
private_hosts = true
keep_from_answer = {{ instance = "instance_url" }}
keep_from_redirect = {{ realm_id = "realmId" }}
headers = {{ X-Realm = "{{realm_id}}" }}
body = "json"
scopes = ["crm_read"]
scope_separator = ","
revocation = "token"
{more}
"""


@pytest.fixture
def write(evergrant: Evergrant) -> Callable[..., None]:
    """Write the provider file of `sim`, with further lines."""

    def put(more: str = "") -> None:
        folder = settings.current().provider_folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "open.toml").write_text(OPEN.format(more=more))

    return put


@pytest.fixture
def at_many(evergrant: Evergrant, provider: SimulatorControl, write: Callable[..., None]) -> Evergrant:
    """The CLI with a client whose provider has a host per customer; answers hold `instance_url`."""
    write()
    command = "clients add sim --provider open --client-id simulated-client --client-secret-file -"
    assert evergrant(*command.split(), stdin="simulated-secret").code == 0
    provider.add_fault("patch", where="token", patch={"instance_url": provider.url})
    return evergrant


@pytest.fixture
def come_back(at_many: Evergrant, provider: SimulatorControl) -> Callable[..., str]:
    """The callback URL that a user came back to, with further parameters."""

    def carry_out(ref: str, *options: str, **more: str) -> str:
        done = at_many("grants", "authorize-url", ref, *options)
        assert done.code == 0, done.err
        return f"{visit(done.out.strip())}&{urlencode(more)}"

    return carry_out


def exchanged(evergrant: Evergrant, ref: str, callback: str) -> Done:
    return evergrant("grants", "exchange", ref, "--callback-url-file", "-", "--json", stdin=callback)


def labels_of(evergrant: Evergrant, ref: str) -> Any:
    return evergrant("grants", "show", ref, "--json").json["labels"]


# ── connecting ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("command", ["authorize-url", "connect"])
@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ((), "label_missing", "Address authorize_url needs the label 'base', which this grant does not have"),
        (("--label", "base="), "label_missing", "give it one with --label base=VALUE"),
        (("--label", "base=https://evil.example"), "host_not_allowed", "none of the provider's hosts: 127.0.0.1"),
        (("--label", "base=https://127.0.0.1@evil.example"), "label_unfit", "authorize_url cannot be made"),
        (("--label", "base=evil.example/x"), "label_unfit", "must be an absolute https:// URL"),
        (("--label", "base=https://bücher.example"), "label_unfit", "percent-encoded"),
        (("--label", "base=.."), "label_unfit", "must be an absolute https:// URL"),
        (
            ("--label", "base=http://127.0.0.1:1", "--label", "base=http://127.0.0.1:2"),
            "label_ambiguous",
            "has several",
        ),
    ],
)
def test_nobody_is_sent_anywhere_where_labels_make_no_address(  # noqa: PLR0917
    at_many: Evergrant, sql: Any, command: str, options: tuple[str, ...], error: str, told: str
) -> None:
    done = at_many("grants", command, "a", *options)
    assert done.code == 2
    assert told in done.err
    assert len(done.err.splitlines()) == 1
    assert at_many("grants", command, "a", *options, "--json").error == error
    assert sql("select count(*) from evergrant.connect_requests") == [(0,)]


def test_a_user_is_connected_where_the_label_says_and_what_came_is_kept(
    at_many: Evergrant, come_back: Callable[..., str], provider: SimulatorControl, sql: Any, tmp_path: Path
) -> None:
    callback = come_back("a", "--label", f"base={provider.url}", realmId="9341453")
    assert exchanged(at_many, "a", callback).json["how"] == "connected"
    held = {"base": [provider.url], "instance": [provider.url], "realm_id": ["9341453"]}
    assert labels_of(at_many, "a") == held
    listed = at_many("grants", "list", "--label", f"instance={provider.url}", "--json").lines
    assert [each["ref"] for each in listed] == ["a"]
    exported = tmp_path / "out.jsonl"
    assert at_many("grants", "export", "--handover", "--client", "sim", "--out", str(exported)).code == 0
    assert json.loads(exported.read_text().splitlines()[0])["labels"] == held


def test_a_ref_that_connects_again_need_not_say_its_labels_again(
    at_many: Evergrant, come_back: Callable[..., str], provider: SimulatorControl
) -> None:
    exchanged(at_many, "a", come_back("a", "--label", f"base={provider.url}", "--label", "tier=x", realmId="1"))
    assert exchanged(at_many, "a", come_back("a", realmId="2")).json["how"] == "reconnected"
    held = labels_of(at_many, "a")
    assert (held["base"], held["realm_id"], held["tier"]) == ([provider.url], ["2"], ["x"])


def test_a_redirect_that_lacks_what_an_address_needs_sends_nothing_and_stays_good(
    at_many: Evergrant, write: Callable[..., None], come_back: Callable[..., str], provider: SimulatorControl, sql: Any
) -> None:
    write('introspect_url = "{base}/introspect/{realm_id}"')
    callback = come_back("a", "--label", f"base={provider.url}")
    done = exchanged(at_many, "a", callback)
    assert (done.code, done.error) == (2, "label_missing")
    assert "introspect_url needs the label 'realm_id'" in done.err
    assert "the redirect did not carry it" in done.err
    assert provider.requests(endpoint="token") == []
    assert exchanged(at_many, "a", f"{callback}realmId=7").code == 0


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("https://evil.example", "host_not_allowed"),
        ("..", "label_unfit"),
        ("a\x07b", "not_text"),
        ("x" * 1001, "not_text"),
    ],
)
def test_a_redirect_that_carries_what_cannot_be_kept_sends_nothing(  # noqa: PLR0917
    at_many: Evergrant,
    write: Callable[..., None],
    come_back: Callable[..., str],
    provider: SimulatorControl,
    value: str,
    why: str,
) -> None:
    write('introspect_url = "{realm_id}/introspect"')
    done = exchanged(at_many, "a", come_back("a", "--label", f"base={provider.url}", realmId=value))
    assert (done.code, done.error) == (2, "redirect_unfit")
    assert f"the label realm_id that cannot be kept ({why})" in done.err
    assert provider.requests(endpoint="token") == []


def test_an_answer_that_gives_what_cannot_be_kept_is_told_and_its_token_set_is_stored(
    at_many: Evergrant, come_back: Callable[..., str], provider: SimulatorControl, sql: Any
) -> None:
    provider.clear_faults()
    provider.add_fault("patch", where="token", patch={"instance_url": "https://evil.example"})
    assert exchanged(at_many, "a", come_back("a", "--label", f"base={provider.url}")).json["how"] == "connected"
    assert "instance" not in labels_of(at_many, "a")
    told = sql("select data from evergrant.events where type = 'grant.label_refused'")
    assert told == [({"refused": {"instance": "host_not_allowed"}},)]
    history = at_many("grants", "history", "a").out
    assert "grant.label_refused" in history
    assert "evil" not in history


def test_a_provider_may_call_the_code_by_another_name(
    at_many: Evergrant, write: Callable[..., None], come_back: Callable[..., str], provider: SimulatorControl
) -> None:
    write('code_parameter = "spapi_oauth_code"')
    callback = come_back("a", "--label", f"base={provider.url}")
    assert exchanged(at_many, "a", callback).error == "no_callback"
    assert exchanged(at_many, "a", callback.replace("code=", "spapi_oauth_code=")).code == 0


# ── importing ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_line_without_the_label_that_its_refresh_needs_is_bad(
    at_many: Evergrant, provider: SimulatorControl, tmp_path: Path, sql: Any
) -> None:
    grants = tmp_path / "grants.jsonl"
    held = [{}, {"instance": "https://evil.example"}, {"instance": ["a", "b"]}, {"instance": provider.url}]
    lines = [{"ref": f"r{n}", "refresh_token": f"rt{n}", "labels": labels} for n, labels in enumerate(held)]
    grants.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = at_many("grants", "import", str(grants), "--client", "sim", "--json")
    told = done.out + done.err
    assert "refresh_url needs the label 'instance', which this grant does not have" in told
    assert "refresh_url would lead to none of the provider's hosts" in told
    assert "refresh_url needs one value of the label 'instance'" in told
    assert "evil" not in told
    assert sql("select ref from evergrant.grants") == [("r3",)]


def test_a_label_may_be_as_long_as_what_a_provider_gives(
    at_many: Evergrant, provider: SimulatorControl, tmp_path: Path, sql: Any
) -> None:
    grants = tmp_path / "grants.jsonl"
    long = {"instance": provider.url, "long": "x" * 1000}
    lines = [
        {"ref": "r", "refresh_token": "rt", "labels": long},
        {"ref": "s", "refresh_token": "st", "labels": {**long, "long": "x" * 1001}},
    ]
    grants.write_text("".join(json.dumps(line) + "\n" for line in lines))
    at_many("grants", "import", str(grants), "--client", "sim", "--json")
    assert sql("select ref from evergrant.grants") == [("r",)]
    assert [each["ref"] for each in at_many("grants", "list", "--label", f"long={'x' * 1000}", "--json").lines] == ["r"]


# ── the client ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_addresses_and_hosts_are_said_at_the_client(evergrant: Evergrant) -> None:
    command = "clients add shop --provider generic --client-id id --authorize-url https://{shop}.acme.example/a"
    words = [*command.split(), "--token-url", "https://{shop}.acme.example/t"]
    done = evergrant(*words, "--json")
    assert (done.code, done.error) == (2, "provider")
    assert "authorize_url leaves a label open in its host: add hosts" in done.err
    done = evergrant(*words, "--host", "*.acme.com")
    assert done.code == 0
    more = [
        "--refresh-url",
        "https://r.acme.com/r",
        "--introspect-url",
        "https://{shop}.acme.com/i",
        "--host",
        "*.acme.com",
    ]
    assert evergrant("clients", "set", "shop", *more, "--host", "*.acme.example").code == 0
    shown = evergrant("clients", "show", "shop", "--json").json
    assert (shown["refresh_url"], shown["introspect_url"]) == ("https://r.acme.com/r", "https://{shop}.acme.com/i")
    assert shown["hosts"] == ["*.acme.com", "*.acme.example"]
    done = evergrant("clients", "set", "shop", "--api-url", "https://api.example/me", "--json")
    assert "api_url leads to api.example, which is not among hosts" in done.err
    assert evergrant("clients", "show", "shop", "--json").json["api_url"] is None


def test_what_is_to_be_done_about_a_grant_without_an_address_is_told(
    at_many: Evergrant, come_back: Callable[..., str], provider: SimulatorControl, sql: Any
) -> None:
    exchanged(at_many, "a", come_back("a", "--label", f"base={provider.url}"))
    sql("update evergrant.grants set last_error_code = 'host_not_allowed', last_error_at = now(), failures = 1")
    shown = at_many("grants", "show", "a", "--json").json
    assert shown["last_error"]["code"] == "host_not_allowed"
    assert "evergrant grants set a --client sim --label KEY=VALUE" in shown["next"]
    assert urlsplit(provider.url).hostname == "127.0.0.1"
