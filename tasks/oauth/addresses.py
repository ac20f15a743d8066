"""Addresses: where a request of a grant goes: a provider's template filled with labels, and held inside its hosts.

A label is what a user typed, what a redirect carried or what the provider said: none of these may lead our secret to
a host that the provider file does not name. So a value is checked by where it stands, and the whole is checked again.

    the whole beginning   `{instance_url}/token`: an https URL itself, a path allowed
    in the host           `https://{shop}.example/token`: letters, digits, dots and hyphens
    in path or query      percent-encoded, never `.` or `..`
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from tasks.oauth.errors import HostNotAllowed, LabelAmbiguous, LabelMissing, LabelUnfit, MissingSetting
from tasks.oauth.fields import LABEL, STAND_IN, checked_url, is_host, is_within, labels_of
from tasks.oauth.provider import Provider

Labels = Mapping[str, str | Sequence[str]]

# What we put into an address ourselves: no label, and only in path or query.
OWN: Final[Mapping[str, frozenset[str]]] = {"revoke_url": frozenset({"token", "client_id"})}

_QUAD = re.compile(r"[0-9]+(\.[0-9]+){3}")
_PARTS = re.compile(r"(?P<scheme>https?://)(?P<host>[^/?:]*)(?P<rest>.*)")


def address_of(
    provider: Provider, field: str, labels: Labels | None = None, *, own: Mapping[str, str] | None = None
) -> str:
    """The URL of a request for a grant with these labels; `own`: values of ours, for path and query alone.

    Raises:
        MissingSetting: the provider has no such address.
        AddressError: it cannot be filled with these labels, or would lead outside of the provider's hosts.

    """
    template: str | None = getattr(provider, field)
    if template is None:
        raise MissingSetting(provider.name, field)
    url = template if "{" not in template else _filled(provider, field, template, labels or {}, own or {})
    host = (urlsplit(url).hostname or "") if provider.hosts else ""
    if provider.hosts and not is_within(host, provider.hosts):
        raise HostNotAllowed(field, host, provider.hosts)
    return url


def needed(provider: Provider, field: str) -> list[str]:
    """The labels that an address leaves open, in order and each once; none where the provider has no such address."""
    template = getattr(provider, field) or ""
    return [label for label in dict.fromkeys(labels_of(template)) if label not in OWN.get(field, ())]


def check(provider: Provider, labels: Labels, *, fields: Collection[str] = (), later: Collection[str] = ()) -> None:
    """See that the addresses of `fields`, by default all, can be filled.

    Those that need a label which comes `later`, and is not there yet, are passed over.

    Raises:
        AddressError: one cannot.

    """
    for field in provider.addresses:
        awaited = [label for label in needed(provider, field) if label in later and not values_of(labels, label)]
        if not awaited and (not fields or field in fields):
            address_of(provider, field, labels, own=dict.fromkeys(OWN.get(field, ()), STAND_IN))


def values_of(labels: Labels, label: str) -> list[str]:
    """What a grant has of a label, without what is empty."""
    values = labels.get(label, ())
    return [value for value in ([values] if isinstance(values, str) else values) if value]


def _filled(provider: Provider, field: str, template: str, labels: Labels, own: Mapping[str, str]) -> str:
    filling = _Filling(field, labels, own, private=provider.private_hosts)
    url = filling.url(template)
    try:
        return checked_url(url)
    except ValueError as error:
        raise LabelUnfit(field, labels_of(template)[0], f"it makes an address that {error}") from None


class _Filling:
    """One address on its way from template to URL."""

    def __init__(self, field: str, labels: Labels, own: Mapping[str, str], *, private: bool) -> None:
        self._field = field
        self._labels = labels
        self._own = own
        self._private = private

    def url(self, template: str) -> str:
        opening = LABEL.match(template)
        if opening is not None:
            base, rest = self._base(opening[1]), template[opening.end() :]
        else:
            parts = _PARTS.fullmatch(template)
            assert parts is not None  # noqa: S101  # the provider file was checked
            base, rest = parts["scheme"] + self._host(parts["host"]), parts["rest"]
        filled = base + LABEL.sub(lambda found: self._encoded(found[1]), rest)
        if labels_of(rest) and _climbs(urlsplit(filled).path):
            raise LabelUnfit(self._field, labels_of(rest)[-1], "it is no step of a path")
        return filled

    def _one(self, label: str) -> str:
        values = values_of(self._labels, label)
        if not values:
            raise LabelMissing(self._field, label)
        if len(values) > 1:
            raise LabelAmbiguous(self._field, label)
        return values[0]

    def _encoded(self, label: str) -> str:
        value = self._own.get(label) if label in OWN.get(self._field, ()) else None
        return quote(self._one(label) if value is None else value, safe="")

    def _host(self, template: str) -> str:
        """A host of which labels are a part; a value that is an IP address must be all of it."""
        opened = labels_of(template)
        values = {label: self._one(label).lower() for label in opened}
        host = LABEL.sub(lambda found: values[found[1]], template)
        for label, value in values.items():
            if not is_host(value) or (_QUAD.fullmatch(value) and value != host):
                raise LabelUnfit(self._field, label, "in a host only letters, digits, dots and hyphens may stand")
        if opened and not is_host(host):
            raise LabelUnfit(self._field, opened[0], "it makes no host")
        return host

    def _base(self, label: str) -> str:
        """A whole beginning that a label gives."""
        value = self._one(label)
        try:
            parts = urlsplit(checked_url(value))
        except ValueError as error:
            raise LabelUnfit(self._field, label, f"as a URL it {error}") from None
        check_base: tuple[tuple[bool, str], ...] = (
            (bool(parts.query) or value.endswith("?"), "as a URL it must have no query"),
            (not is_host(parts.hostname or ""), "its host holds more than letters, digits, dots and hyphens"),
            (parts.port is not None and not self._private, "a port is allowed in private_hosts only"),
            (_climbs(parts.path), "its path must not climb"),
        )
        for fault, why in check_base:
            if fault:
                raise LabelUnfit(self._field, label, why)
        return value.rstrip("/")


def _climbs(path: str) -> bool:
    """Whether a path has a step that leads back."""
    return any(unquote(step) in (".", "..") for step in path.split("/"))
