"""Answer: all that can be known of one request: what came back, or that it was not sent, held back, or met by silence.

Only what is known, and not how it is learnt, so whoever reads answers need not bring the HTTP client along.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

SUCCESS = range(200, 300)  # statuses (RFC 9110 §15.3)
# How a certificate was refused, as the shape of `tls_certificate`, by OpenSSL's number (its x509_vfy.h).
CERTIFICATE_SHAPES = {
    10: "ended",
    **dict.fromkeys((62, 64), "other_name"),
    **dict.fromkeys((2, 18, 19, 20, 21), "unknown_issuer"),
}
# Codes of what was not sent because of its address: that is one grant's, or one file's, and no provider is ill.
UNFIT_ADDRESS = frozenset(
    {"label_missing", "label_ambiguous", "label_unfit", "host_not_allowed", "host_private", "setting_missing"}
)


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer; header names are in lower case, `body` is decoded, and at most 128 KiB.

    `is_encoded`: it could not be, and `body` is what came; nobody can say what the provider said.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False, default_factory=dict)
    body: bytes = field(repr=False, default=b"")
    assertion: str = field(repr=False, compare=False, default="")  # that the request showed: nothing told repeats it
    is_encoded: bool = False

    @property
    def may_hold_tokens(self) -> bool:
        """Whether a token endpoint may have put tokens into it: it is journaled before it is parsed."""
        return self.status in SUCCESS


@dataclass(frozen=True, slots=True)
class RequestEnd:
    """How a request ended, as far as everybody asks: every outcome tells these.

    `code`: in one word; `retry_after`: when we may come again, where the provider says so; `unknown`: the provider may
    have acted or not, and nobody can know; `rule`: which one of the provider's file read it, `3: dead, revoked`;
    `shape`: of a word that may not be told, `<string 43 #5f3a91c2>`, so that two can be told apart; of
    `tls_certificate`, one of `CERTIFICATE_SHAPES`.
    """

    code: str
    http_status: int | None = None
    retry_after: timedelta | None = None
    unknown: bool = False
    rule: str | None = field(default=None, kw_only=True)
    shape: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class NotSent(RequestEnd):
    """The request provably did not leave.

    `code`: dns, connect_refused, connect, connect_timeout, tls_certificate, tls or bad_request; or one of
    `UNFIT_ADDRESS`.
    """

    @property
    def is_of_its_address(self) -> bool:
        """Whether nothing was tried at all, for there is no address to send it to."""
        return self.code in UNFIT_ADDRESS


@dataclass(frozen=True, slots=True)
class HeldBack(RequestEnd):
    """A guard of ours said no: nothing was tried, and the job is given back, for `wait` or for 5 to 15 s."""

    wait: timedelta | None = None


Guard = Callable[[], HeldBack | None]


@dataclass(frozen=True, slots=True)
class Silence:
    """Something may have been sent, and no whole answer came.

    `code`: timeout, reset, malformed, truncated, too_large or internal; `status` and `headers` are those of an
    answer whose head did arrive.
    """

    code: str
    status: int | None = None
    headers: Mapping[str, str] = field(repr=False, default_factory=dict)


Answer = Response | NotSent | HeldBack | Silence
