"""`evergrant_client.httpx.auth`: sign requests of httpx, synchronous and asynchronous."""

from collections.abc import AsyncGenerator, Generator

import httpx

from evergrant_client.authorization import Authorization
from evergrant_client.evergrant import Evergrant
from evergrant_client.flows import async_flow, sync_flow


class EvergrantAuth(httpx.Auth):
    """Signs each request with a fresh token; on a 401 re-reads, reports, and tries once more."""

    def __init__(self, authorization: Authorization) -> None:
        self._authorization = authorization

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """For `httpx.Client`."""
        return sync_flow(self._authorization, request, unread=httpx.RequestNotRead)

    def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """For `httpx.AsyncClient`."""
        return async_flow(self._authorization, request, unread=httpx.RequestNotRead)


def auth(
    evergrant: Evergrant,
    ref: str,
    *,
    client: str | None = None,
    org: str | None = None,
    min_ttl: float = 60.0,
    timeout: float = 30.0,
) -> EvergrantAuth:
    """Make the `auth=` of a client or of one request; the arguments are those of `Evergrant.access_token`."""
    return EvergrantAuth(Authorization(evergrant, ref, client, org, min_ttl, timeout))
