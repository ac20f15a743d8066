"""Addresses: a label's value fills a template, and never leads a request out of the provider's hosts."""

from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from tasks.oauth import addresses, messages
from tasks.oauth.errors import AddressError, HostNotAllowed, LabelAmbiguous, LabelMissing, LabelUnfit, MissingSetting
from tasks.oauth.fields import is_within
from tasks.oauth.messages import Registration
from tasks.oauth.provider import Provider

HOSTS = ("*.zendesk.com", "login.example.com")
IN_HOST = "https://{subdomain}.zendesk.com/oauth/tokens"
WHOLE = "{instance_url}/oauth/token"


def provider(**fields: object) -> Provider:
    return Provider.model_validate({"name": "example", "hosts": HOSTS} | fields)


def filled(template: str, **labels: str | list[str]) -> str:
    return addresses.address_of(provider(token_url=template), "token_url", labels)


# ── what fits ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("template", "labels", "url"),
    [
        (IN_HOST, {"subdomain": "acme"}, "https://acme.zendesk.com/oauth/tokens"),
        (IN_HOST, {"subdomain": ["Acme"]}, "https://acme.zendesk.com/oauth/tokens"),
        (IN_HOST, {"subdomain": "eu.acme"}, "https://eu.acme.zendesk.com/oauth/tokens"),
        (IN_HOST, {"subdomain": "1234567"}, "https://1234567.zendesk.com/oauth/tokens"),
        ("https://{host}/token", {"host": "login.example.com"}, "https://login.example.com/token"),
        (WHOLE, {"instance_url": "https://a.zendesk.com"}, "https://a.zendesk.com/oauth/token"),
        (WHOLE, {"instance_url": "https://a.zendesk.com/v1/"}, "https://a.zendesk.com/v1/oauth/token"),
        ("{instance_url}", {"instance_url": "https://a.zendesk.com/t"}, "https://a.zendesk.com/t"),
        (
            "https://login.example.com/{tenant}/token",
            {"tenant": "a/b?c#d"},
            "https://login.example.com/a%2Fb%3Fc%23d/token",
        ),
        ("https://login.example.com/t?realm={realm}", {"realm": "ä&b"}, "https://login.example.com/t?realm=%C3%A4%26b"),
        ("https://login.example.com/token", {}, "https://login.example.com/token"),
    ],
)
def test_an_address_is_filled_with_the_labels_of_a_grant(template: str, labels: dict[str, str], url: str) -> None:
    assert filled(template, **labels) == url


def test_a_value_of_ours_stands_in_the_path_of_a_revocation_percent_encoded() -> None:
    ours = provider(revoke_url="https://{subdomain}.zendesk.com/tokens/{token}")

    url = addresses.address_of(ours, "revoke_url", {"subdomain": "a"}, own={"token": "t/o ken"})

    assert url == "https://a.zendesk.com/tokens/t%2Fo%20ken"
    assert addresses.needed(ours, "revoke_url") == ["subdomain"]


# ── what does not ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("evil.com/x", LabelUnfit),
        ("a.b@evil", LabelUnfit),
        ("evil.com#", LabelUnfit),
        ("evil.com?", LabelUnfit),
        ("evil.com\\", LabelUnfit),
        ("evil.com:443/", LabelUnfit),
        ("acme:8443", LabelUnfit),
        ("%2e%2e", LabelUnfit),
        ("169.254.169.254", LabelUnfit),
        ("[::1]", LabelUnfit),
        ("..", LabelUnfit),
        (".", LabelUnfit),
        ("acme.", LabelUnfit),
        ("-acme", LabelUnfit),
        ("аcme", LabelUnfit),  # noqa: RUF001  # the first letter is Cyrillic
        ("bücher", LabelUnfit),
        ("acme。evil", LabelUnfit),
        ("acme\n", LabelUnfit),
        ("a" * 64, LabelUnfit),
        ("a." * 130 + "a", LabelUnfit),
        (" ", LabelUnfit),
        ("", LabelMissing),
        ([], LabelMissing),
        ([""], LabelMissing),
        (["a", "b"], LabelAmbiguous),
    ],
)
def test_what_is_no_part_of_a_host_is_refused_with_the_field_and_the_label(
    value: str | list[str], error: type[AddressError]
) -> None:
    with pytest.raises(error, match=r"token_url .*'subdomain'"):
        filled(IN_HOST, subdomain=value)


def test_a_label_that_the_grant_does_not_have_is_named_with_what_to_write() -> None:
    with pytest.raises(
        LabelMissing, match="token_url needs the label 'subdomain', which this grant does not have"
    ) as e:
        filled(IN_HOST, org="1")
    assert e.value.next == "give it one with --label subdomain=VALUE"


@pytest.mark.parametrize("host", ["zendesk.com", "evil.com", "login.example.com.evil.com", "xzendesk.com", "127.0.0.1"])
def test_a_host_that_the_file_does_not_name_is_refused(host: str) -> None:
    with pytest.raises(HostNotAllowed, match=f"token_url would lead to '{host}', which is none of"):
        filled("https://{host}/token", host=host)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("http://a.zendesk.com", LabelUnfit),
        ("ftp://a.zendesk.com", LabelUnfit),
        ("a.zendesk.com", LabelUnfit),
        ("https://me@a.zendesk.com", LabelUnfit),
        ("https://evil.com\\.zendesk.com", LabelUnfit),
        ("https://a.zendesk.com:8443", LabelUnfit),
        ("https://a.zendesk.com/?x=1", LabelUnfit),
        ("https://a.zendesk.com?", LabelUnfit),
        ("https://a.zendesk.com/#x", LabelUnfit),
        ("https://a.zendesk.com/../b", LabelUnfit),
        ("https://a.zendesk.com/%2E%2e/b", LabelUnfit),
        ("https://a_b.zendesk.com", LabelUnfit),
        ("https://bücher.zendesk.com", LabelUnfit),
        ("https://evil.com", HostNotAllowed),
        ("https://169.254.169.254/latest", HostNotAllowed),
        ("https://[::1]", LabelUnfit),
        ("https://", LabelUnfit),
    ],
)
def test_a_label_that_is_a_whole_beginning_must_be_an_https_url_of_the_providers_hosts(
    value: str, error: type[AddressError]
) -> None:
    with pytest.raises(error, match="token_url"):
        filled(WHOLE, instance_url=value)


@pytest.mark.parametrize("value", [".", ".."])
def test_a_label_in_a_path_is_no_step_back(value: str) -> None:
    with pytest.raises(LabelUnfit, match="no step of a path"):
        filled("https://login.example.com/{tenant}/token", tenant=value)


def test_the_fence_holds_for_an_address_without_labels_too() -> None:
    fixed = provider(token_url="https://login.example.com/token").model_copy(update={"hosts": ("other.example.com",)})

    with pytest.raises(HostNotAllowed):
        messages.refresh(Registration(fixed, "id", "s3cret"), refresh_token="r")


def test_an_address_that_nobody_has_set_is_told_as_before() -> None:
    with pytest.raises(MissingSetting, match="no revoke_url"):
        addresses.address_of(provider(), "revoke_url", {})


def test_a_fault_repeats_no_value() -> None:
    for template, labels in ((IN_HOST, {"subdomain": "evil.com/x"}), ("https://{h}/t", {"h": "evil.com"})):
        with pytest.raises(AddressError) as error:
            filled(template, **labels)
        assert "evil" not in error.value.fault


# ── whatever a label holds ──────────────────────────────────────────────────────────────────────────────────────

ODD = st.sampled_from([*"./\\@:#?%&=[]{}~ \t\n。．｡⁄﹕＠", "evil.com", "..", "//", "%2f", "xn--", "zendesk.com"])  # noqa: RUF001
VALUES = st.lists(ODD | st.text(max_size=8), max_size=8).map("".join) | st.text(max_size=40)
TEMPLATES = st.sampled_from(
    [
        IN_HOST,
        WHOLE,
        "https://{a}{subdomain}.zendesk.com/x",
        "https://{subdomain}/x",
        "https://login.example.com/{subdomain}/x?y={a}",
        "https://{subdomain}.{a}/x",
    ]
)


@given(TEMPLATES, VALUES, VALUES)
@example(IN_HOST, "evil.com/", "")
@example(WHOLE, "", "https://evil.com/.zendesk.com")
@example(WHOLE, "", "https://a.zendesk.com\\@evil.com")
def test_no_value_of_a_label_leads_a_request_out_of_the_fence(template: str, value: str, other: str) -> None:
    labels = {"subdomain": value, "a": other, "instance_url": other}
    try:
        url = addresses.address_of(provider(token_url=template), "token_url", labels)
    except AddressError:
        return
    # As the standard library reads it, and as the sender does.
    for host, scheme, user in (
        (urlsplit(url).hostname, urlsplit(url).scheme, urlsplit(url).username),
        (URL(url, encoded=True).raw_host, URL(url, encoded=True).scheme, URL(url, encoded=True).user),
    ):
        assert host is not None
        assert is_within(host, HOSTS)
        assert (scheme, user) == ("https", None)
    assert URL(url, encoded=True).port == 443
    assert url.isascii()
    assert url.isprintable()


# ── before anybody is asked ─────────────────────────────────────────────────────────────────────────────────────


def test_every_address_is_looked_at_but_those_that_await_a_label() -> None:
    ours = provider(
        token_url=IN_HOST,
        refresh_url=WHOLE,
        keep_from_answer={"instance_url": "instance_url"},
        revoke_url="https://{other}.zendesk.com/{token}",
    )

    addresses.check(ours, {"subdomain": "a", "other": "b"}, later={"instance_url"})
    with pytest.raises(LabelMissing, match="refresh_url needs the label 'instance_url'"):
        addresses.check(ours, {"subdomain": "a", "other": "b"})
    with pytest.raises(LabelMissing, match="revoke_url needs the label 'other'"):
        addresses.check(ours, {"subdomain": "a"}, later={"instance_url"})
    addresses.check(ours, {"subdomain": "a"}, fields={"token_url"})
