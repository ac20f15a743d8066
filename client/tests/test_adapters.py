"""The adapters of requests, httpx and httpx2, synchronous and asynchronous: all behave alike, over real HTTP."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import httpx2
import pytest
import requests

import evergrant_client
from evergrant_client import LabelNotChosen, NeedsConsent, NotFreshYet
from evergrant_client.testing import FakeEvergrant
from tests.api import Api, Request


@dataclass(frozen=True)
class Library:
    """One way to send: `get(auth, url)` and `post(auth, url, body)` return the status."""

    module: Any
    send: Callable[..., int]
    one_use: Callable[[], Any]
    """A body that can be read once."""

    def auth(self, evergrant: FakeEvergrant, ref: str = "customer", **options: Any) -> Any:
        return self.module.auth(evergrant, ref, **options)


def with_requests(auth: Any, url: str, body: Any = None, *, method: str = "GET") -> int:
    with requests.Session() as session:
        session.auth = auth
        return int(session.request(method, url, data=body, timeout=30).status_code)


def with_httpx(library: Any) -> Callable[..., int]:
    def send(auth: Any, url: str, body: Any = None, *, method: str = "GET") -> int:
        with library.Client(auth=auth, follow_redirects=True, trust_env=False) as client:
            return int(client.request(method, url, content=body).status_code)

    return send


def with_async_httpx(library: Any) -> Callable[..., int]:
    async def send(auth: Any, url: str, body: Any, method: str) -> int:
        async with library.AsyncClient(auth=auth, follow_redirects=True, trust_env=False) as client:
            return int((await client.request(method, url, content=body)).status_code)

    return lambda auth, url, body=None, *, method="GET": asyncio.run(send(auth, url, body, method))


def one_use() -> Iterator[bytes]:
    yield b"begin"
    yield b"end"


async def one_use_async() -> AsyncIterator[bytes]:
    yield b"begin"
    yield b"end"


LIBRARIES = {
    "requests": Library(evergrant_client.requests, with_requests, one_use),
    "httpx": Library(evergrant_client.httpx, with_httpx(httpx), one_use),
    "httpx async": Library(evergrant_client.httpx, with_async_httpx(httpx), one_use_async),
    "httpx2": Library(evergrant_client.httpx2, with_httpx(httpx2), one_use),
    "httpx2 async": Library(evergrant_client.httpx2, with_async_httpx(httpx2), one_use_async),
}


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> Library:
    return LIBRARIES[request.param]


def test_a_request_is_signed(library: Library, evergrant: FakeEvergrant, api: Api) -> None:
    api.accepted = {"secret"}
    assert library.send(library.auth(evergrant), f"{api.url}/v2/bookings") == 200
    assert api.requests == [Request("/v2/bookings", "secret", None, b"")]
    assert evergrant.requested == []


def test_a_401_is_reported_and_tried_once_more_with_the_next_token(
    library: Library, evergrant: FakeEvergrant, api: Api
) -> None:
    api.accepted = {"secret-2"}
    auth = library.auth(evergrant)
    assert library.send(auth, api.url, b"a body", method="POST") == 200
    assert [(request.token, request.body) for request in api.requests] == [
        ("secret", b"a body"),
        ("secret-2", b"a body"),
    ]
    assert [request.if_generation for request in evergrant.requested if hasattr(request, "if_generation")] == [1]
    assert library.send(auth, api.url) == 200
    assert len(api.requests) == 3


def test_a_second_401_is_the_callers(library: Library, evergrant: FakeEvergrant, api: Api) -> None:
    assert library.send(library.auth(evergrant), api.url) == 401
    assert [request.token for request in api.requests] == ["secret", "secret-2"]


def test_a_body_that_was_streamed_is_not_sent_again_but_its_401_is_reported(
    library: Library, evergrant: FakeEvergrant, api: Api
) -> None:
    auth = library.auth(evergrant)
    assert library.send(auth, api.url, library.one_use(), method="POST") == 401
    assert [request.body for request in api.requests] == [b"beginend"]
    assert len(evergrant.requested) == 1
    api.accepted = {"secret-2"}
    assert library.send(auth, api.url) == 200


def test_a_file_is_put_back_to_its_beginning_where_the_library_can(evergrant: FakeEvergrant, api: Api) -> None:
    api.accepted = {"secret-2"}
    file = io.BytesIO(b"header|a file")
    file.seek(7)
    assert with_requests(evergrant_client.requests.auth(evergrant, "customer"), api.url, file, method="POST") == 200
    assert [request.body for request in api.requests] == [b"a file", b"a file"]


def test_the_only_organization_is_set_by_itself_and_one_of_several_is_chosen(
    library: Library, evergrant: FakeEvergrant, api: Api
) -> None:
    evergrant.connect("single", "secret", labels={"org": "8f2"})
    evergrant.connect("chain", "secret", labels={"org": ["8f2", "9a1"]})
    api.accepted = {"secret"}
    library.send(library.auth(evergrant, "single"), api.url)
    library.send(library.auth(evergrant, "chain", org="9a1"), api.url)
    assert [request.org for request in api.requests] == ["8f2", "9a1"]
    with pytest.raises(LabelNotChosen, match="8f2, 9a1"):
        library.send(library.auth(evergrant, "chain"), api.url)
    assert len(api.requests) == 2


def test_an_api_elsewhere_gets_no_token_and_its_401_is_no_verdict_on_ours(
    library: Library, evergrant: FakeEvergrant, api: Api, other_api: Api
) -> None:
    api.elsewhere = other_api.url.replace("127.0.0.1", "localhost") + "/there"
    assert library.send(library.auth(evergrant), f"{api.url}/away") == 401
    assert [request.token for request in other_api.requests] == [None]
    assert evergrant.requested == []


def test_a_grant_that_ended_meanwhile_is_told_instead_of_a_401(
    library: Library, evergrant: FakeEvergrant, api: Api
) -> None:
    evergrant.access_token("customer")
    evergrant._source._usable("customer").reason = "revoked_or_expired"  # type: ignore[attr-defined]
    with pytest.raises(NeedsConsent):
        library.send(library.auth(evergrant), api.url)


def test_an_evergrant_that_is_away_is_bridged_and_leaves_a_401_as_it_is(
    library: Library, evergrant: FakeEvergrant, api: Api
) -> None:
    api.accepted = {"secret"}
    auth = library.auth(evergrant)
    library.send(auth, api.url)
    evergrant.go_away()
    assert library.send(auth, api.url) == 200
    api.accepted = set()
    assert library.send(auth, api.url) == 401
    with pytest.raises(NotFreshYet):
        library.send(auth, api.url)


def test_the_token_is_in_no_repr(library: Library, evergrant: FakeEvergrant) -> None:
    assert "secret" not in repr(library.auth(evergrant)) + repr(evergrant)
