"""`evergrant_client.requests.auth`: sign requests of requests."""

from functools import partial
from typing import Any

import requests
from requests.auth import AuthBase
from requests.exceptions import UnrewindableBodyError
from requests.utils import rewind_body

from evergrant_client.authorization import Authorization, is_refused, sign
from evergrant_client.evergrant import Evergrant
from evergrant_client.token import Token


class EvergrantAuth(AuthBase):
    """Signs each request with a fresh token; on a 401 re-reads, reports, and tries once more."""

    def __init__(self, authorization: Authorization) -> None:
        self._authorization = authorization

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign the request, and look at its answer."""
        token = self._authorization.token()
        sign(r.headers, token)
        r.hooks["response"].append(partial(self._answered, token=token))
        return r

    def _answered(self, response: requests.Response, *, token: Token, **sending: Any) -> requests.Response:
        if not is_refused(response.status_code, response.request.headers, token):
            return response
        newer = self._authorization.after_401(token, can_repeat=_rewound(response.request))
        if newer is None:
            return response
        response.content  # noqa: B018  # read it, so that the connection can be used again
        response.close()
        again = response.request.copy()
        sign(again.headers, newer)
        repeated: requests.Response = response.connection.send(again, **sending)
        repeated.history.append(response)
        repeated.request = again
        return repeated


def auth(
    evergrant: Evergrant,
    ref: str,
    *,
    client: str | None = None,
    org: str | None = None,
    min_ttl: float = 60.0,
    timeout: float = 30.0,
) -> EvergrantAuth:
    """Make the `auth=` of a session or of one request; the arguments are those of `Evergrant.access_token`."""
    return EvergrantAuth(Authorization(evergrant, ref, client, org, min_ttl, timeout))


def _rewound(request: requests.PreparedRequest) -> bool:
    """Whether the body can be sent once more; a file is put back to where it began."""
    if request.body is None or isinstance(request.body, (bytes, str)):
        return True
    try:
        rewind_body(request)
    except UnrewindableBodyError:
        return False
    return True
