"""Authorization: what every adapter does: sign a request, and hand off a 401: re-read, report, and one more try."""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

from evergrant_client.errors import NotFreshYet
from evergrant_client.evergrant import Evergrant
from evergrant_client.token import Token

UNAUTHORIZED = 401


@dataclass(frozen=True, slots=True)
class Authorization:
    """Whose token signs requests. It holds no state of a request, so any number of threads may share it."""

    evergrant: Evergrant
    ref: str
    client: str | None = None
    org: str | None = None
    min_ttl: float = 60.0
    timeout: float = 30.0

    def token(self, rejected: Token | None = None) -> Token:
        """The token to sign with."""
        return self.evergrant.access_token(
            self.ref,
            client=self.client,
            org=self.org,
            min_ttl=self.min_ttl,
            timeout=self.timeout,
            rejected=rejected,
        )

    def after_401(self, rejected: Token, *, can_repeat: bool) -> Token | None:
        """A newer token to try once more with; None where the 401 is what the caller gets.

        A request whose body is gone cannot be repeated: then the token is only reported.
        """
        try:
            if can_repeat:
                return self.token(rejected)
            self.evergrant.report_rejected(self.ref, rejected, client=self.client)
        except NotFreshYet:
            pass
        return None


def sign(headers: MutableMapping[str, str], token: Token) -> None:
    """Put the token, and what else the API wants, into a request's headers."""
    headers.update(token.request_headers())


def is_refused(status: int, sent: Mapping[str, str], token: Token) -> bool:
    """Whether this is a 401 to our token; after a redirect to another host the token was not sent there."""
    name, value = token.presented
    return status == UNAUTHORIZED and sent.get(name) == value
