"""Fields: what a single value of a provider file may be: addresses, hosts, rates, headers, paths into an answer."""

import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

MOST_PER_MINUTE = 1_000_000
MINUTES = {"second": 1 / 60, "minute": 1.0, "hour": 60.0, "day": 1440.0}
# What an address or a header may leave open: `{subdomain}`, filled with a grant's label.
LABEL = re.compile(r"{([A-Za-z_][A-Za-z0-9_]*)}")
ACCESS_TOKEN = "{access_token}"  # noqa: S105  # where it stands in the header that presents it
LONGEST_HOST = 253  # characters (RFC 1035 §2.3.4, less what stands between them)
STAND_IN = "x"  # for a label, while an address is looked at before there is one


def checked_url(value: str) -> str:
    """Let pass an absolute https URL, or http on loopback, that can be sent as it is written.

    Raises:
        ValueError: it is none; the message goes on where "it" stands.

    """
    if not value.isascii() or re.search(r"[\x00-\x20\x7f\"<>\\^`{|}]", value):
        message = "holds characters that must be percent-encoded"
        raise ValueError(message)
    parts = urlsplit(value)
    _ = parts.port  # raises ValueError where it is no port
    if parts.scheme not in ("http", "https") or not parts.hostname:
        message = "must be an absolute https:// URL"
        raise ValueError(message)
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        message = "plain http:// is allowed on loopback only (127.0.0.0/8, ::1, localhost): use https://"
        raise ValueError(message)
    if parts.fragment or "@" in parts.netloc:
        message = "must have neither a fragment nor a user name"
        raise ValueError(message)
    return value


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, as far as its name tells."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _address(value: str) -> str:
    """Let pass a URL that may leave labels open: in part (`https://{shop}.example/token`) or as a whole beginning."""
    opens = LABEL.match(value)
    if opens is not None and value[opens.end() :][:1] not in ("", "/"):
        message = f"must go on with a slash behind {opens[0]}"
        raise ValueError(message)
    filled = LABEL.sub(STAND_IN, value if opens is None else f"https://{STAND_IN}.example{value[opens.end() :]}")
    checked_url(filled)
    return value


def labels_of(template: str) -> list[str]:
    """The labels that an address or a header leaves open, in order."""
    return LABEL.findall(template)


def leaves_host_open(template: str) -> bool:
    """Whether a label decides which host an address leads to."""
    return template.startswith("{") or "{" in re.split("[/?]", template.partition("://")[2])[0]


def is_host(value: str) -> bool:
    """Whether it is a host in lower case: parts of letters, digits and hyphens between dots (RFC 1123 §2.1)."""
    parts = value.split(".")
    return len(value) <= LONGEST_HOST and all(
        re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", part) for part in parts
    )


def is_address(host: str) -> bool:
    """Whether a host is an IPv4 address, or ends in a number, which makes systems take it for one."""
    return re.fullmatch(r"0x[0-9a-f]*|[0-9]+", host.rpartition(".")[2]) is not None


def is_within(host: str, hosts: Iterable[str]) -> bool:
    """Whether a host is one of these, or lies below one that begins with `*.`."""
    return any(host.endswith(each[1:]) if each.startswith("*.") else host == each for each in hosts)


def _host(value: str) -> str:
    """Let pass a host, or `*.example.com`: any one below it, never a whole top-level domain."""
    name = value.removeprefix("*.")
    if not is_host(name) or (value.startswith("*.") and ("." not in name or is_address(name))):  # *.com is no fence
        message = f"{value!r} is no host: write it in lower case like login.example.com or *.example.com"
        raise ValueError(message)
    return value


def requests_per_minute(value: object) -> object:
    """Read `100/minute`, `5/second`, `1000/hour`, `none` or a number of requests a minute.

    Raises:
        ValueError: it is none of these.

    """
    if not isinstance(value, str):
        return value
    if value.strip().lower() in ("none", ""):
        return None
    amount, _, unit = value.partition("/")
    try:
        return float(amount) / MINUTES[unit.strip().lower() or "minute"]
    except (ValueError, KeyError):
        message = f"{value!r} is no rate: write it like 100/minute, 5/second or none"
        raise ValueError(message) from None


def _plausible_rate(value: float) -> float:
    """Let pass what can be counted: intervals of microseconds, or of years, are typing errors."""
    if not 1 / MINUTES["day"] <= value <= MOST_PER_MINUTE:
        message = "must be between 1/day and 1000000/minute, or none"
        raise ValueError(message)
    return value


def _header_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", value):
        message = f"{value!r} is no header name"
        raise ValueError(message)
    return value


def _header_value(value: str) -> str:
    if not re.fullmatch(r"[\x20-\x7e]*", value):
        message = "a header's value must be printable ASCII"
        raise ValueError(message)
    return value


def _api_header(value: str) -> str:
    """Let pass a header in which the access token stands once: `X-Shopify-Access-Token: {access_token}`."""
    name, divided, text = value.partition(": ")
    if not divided or text.count(ACCESS_TOKEN) != 1 or re.search(r"[{}]", text.replace(ACCESS_TOKEN, "")):
        message = f"must be a header with the token in it, like X-Shopify-Access-Token: {ACCESS_TOKEN}"
        raise ValueError(message)
    return f"{_header_name(name)}: {_header_value(text.strip())}"


def _label(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,62}", value):
        message = f"{value!r} is no label: write letters, digits and underscores"
        raise ValueError(message)
    return value


def _path(value: str) -> str:
    """Let pass a path into an answer: members joined by dots, a number for a place in a list; empty: the whole."""
    if value and not re.fullmatch(r"[^.\s]+(\.[^.\s]+)*", value):
        message = f"{value!r} is no path: write members joined by dots, like authed_user.access_token"
        raise ValueError(message)
    return value


def _path_of_many(value: str) -> str:
    """Let pass a path in which `*` may stand for every element of a list: `accounts.*.account_id`."""
    if not re.fullmatch(r"(\*|[^.*\s]+)(\.(\*|[^.*\s]+))*", value):
        message = f"{value!r} is no path: write members joined by dots, and * for every element of a list: *.tenantId"
        raise ValueError(message)
    return value


Url = Annotated[str, AfterValidator(checked_url)]
Address = Annotated[str, AfterValidator(_address)]
Host = Annotated[str, AfterValidator(_host)]
PerMinute = Annotated[float, AfterValidator(_plausible_rate)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
HeaderValue = Annotated[str, AfterValidator(_header_value)]
ApiHeader = Annotated[str, AfterValidator(_api_header)]
Label = Annotated[str, AfterValidator(_label)]
Path = Annotated[str, AfterValidator(_path)]
PathOfMany = Annotated[str, AfterValidator(_path_of_many)]
