"""The same way back, whoever asked for the link: in SQL, over HTTP, and by the client package over either."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import settings
from evergrant_client import Evergrant, LinkRefused, NeedsConsent, NotAllowed, NotConfigured
from models import application
from models.database import transaction
from simulator.control import SimulatorControl
from tests.application_logins import Logins, logins
from tests.harness import Harness
from tests.integration.public.browser import PUBLIC_URL
from tests.integration.public.conftest import Scene
from tests.integration.public.test_connecting import ended, told, words
from tests.integration.public.test_reconnecting import LIVING, account_at, answers_with
from tests.integration.web.asking import Web
from tests.integration.web.conftest import served
from tests.polling import eventually
from worker.web.server import Addresses

RETURN_TO = "https://acme.example/settings"
OVER = ["sql", "http", "package over sql", "package over http"]

Link = Callable[..., str]


@pytest.fixture
def addresses(harness: Harness) -> Iterator[Addresses]:
    """A web process with a public listener and a token interface."""
    wanted = {"ops_bind": "127.0.0.1:0", "token_bind": "127.0.0.1:0", "public_bind": "127.0.0.1:0"}
    update = wanted | {"public_url": PUBLIC_URL, "public_behind_proxy": True}
    with served(settings.current().model_copy(update=update)) as found:
        eventually(lambda: harness.one("select public_url from evergrant.installation")["public_url"])
        yield found


@pytest.fixture
def public(addresses: Addresses) -> str:
    assert addresses.public is not None
    return addresses.public


@pytest.fixture
def key(client: int) -> str:
    """The key of an application that may read and connect at this client."""
    made = application.new_key()
    with transaction() as connection:
        application.add(connection, "billing", client_ids=[client], key=made, who="tests", may=("read", "connect"))
    return made


@pytest.fixture
def made(harness: Harness, client: int) -> Iterator[Logins]:
    with logins(harness) as found:
        yield found


@pytest.fixture
def package(over: str, request: pytest.FixtureRequest) -> Iterator[Evergrant]:
    """The package as an application has it over this."""
    evergrant = _package(over, request)
    yield evergrant
    evergrant.close()


def _package(over: str, request: pytest.FixtureRequest) -> Evergrant:
    if "http" in over:
        found: Addresses = request.getfixturevalue("addresses")
        return Evergrant(token_url=found.token, application_key=request.getfixturevalue("key"))
    of: Logins = request.getfixturevalue("made")
    keys = of.harness.settings.access_token_keys
    assert keys is not None
    dsn = of.address(of.login(of.role("shop", may=("read", "connect"))))
    return Evergrant(dsn=dsn, access_keys=keys.get_secret_value())


@pytest.fixture(params=OVER)
def over(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def by(over: str, request: pytest.FixtureRequest) -> Iterator[Link]:
    """A link, asked for in this way."""
    if over == "http":
        web = Web(request.getfixturevalue("addresses"), request.getfixturevalue("key"))
        yield lambda ref, **said: web.post(ref, "connect", said).json["url"]
    elif over == "sql":
        of: Logins = request.getfixturevalue("made")
        yield lambda ref, **said: _in_sql(of, ref, said)
    else:
        evergrant: Evergrant = request.getfixturevalue("package")
        yield evergrant.connect_url


def _in_sql(of: Logins, ref: str, said: dict[str, Any]) -> str:
    given = {name: json.dumps(each) if name == "labels" else each for name, each in said.items()}
    named = "".join(f", {name} => %({name})s" for name in given)
    query = f"select evergrant.connect_url(evergrant.request_connect(%(ref)s{named}))"
    row = of.application("shop", may=("connect",)).execute(query.encode(), {"ref": ref, **given}).fetchone()
    assert row is not None
    return str(row[0])


def test_a_customer_connects_and_comes_back_and_another_account_does_not_take_the_place(scene: Scene, by: Link) -> None:
    account_at(scene.harness, "team.id")
    answers_with(scene.provider, team={"id": "team-1"})
    first = by("customer-42", labels={"org": "8f2"}, return_to=RETURN_TO, locale="de")
    assert told(ended(scene.browser, first, scene.worker)) == {"evergrant": "connected", "ref": "customer-42"}
    scene.harness.run("update evergrant.grants set status = 'needs_consent', reason = 'revoked_or_expired'")

    assert "is connected" in words(ended(scene.browser, by("customer-42"), scene.worker))
    assert scene.rows(LIVING) == [("customer-42", "active", 2, {"org": ["8f2"]})]

    answers_with(scene.provider, team={"id": "team-2"})
    assert "That was another account" in words(ended(scene.browser, by("customer-42"), scene.worker))
    assert scene.rows(LIVING) == [("customer-42", "active", 2, {"org": ["8f2"]})]


BY_PACKAGE = pytest.mark.parametrize("over", ["package over sql", "package over http"], indirect=True)


@BY_PACKAGE
def test_whoever_is_told_that_consent_is_needed_has_a_link_for_the_asking(
    scene: Scene, package: Evergrant, provider: SimulatorControl
) -> None:
    assert "is connected" in words(ended(scene.browser, scene.link(), scene.worker))
    scene.harness.run("update evergrant.grants set status = 'needs_consent', reason = 'revoked_or_expired'")
    tickets = "select from evergrant.tickets where used_at is null"

    with pytest.raises(NeedsConsent) as needed:
        package.access_token("customer-42")
    assert scene.rows(tickets) == []  # however often it is read, nobody makes what nobody wants
    url = needed.value.connect_url
    assert url is not None
    assert needed.value.connect_url == url
    assert len(scene.rows(tickets)) == 1
    assert "is connected" in words(ended(scene.browser, url, scene.worker))
    assert package.access_token("customer-42").generation == 2


@BY_PACKAGE
def test_what_makes_no_link_is_told_alike(scene: Scene, package: Evergrant) -> None:
    found = {}
    for name, said in {
        "address": {"return_to": "https://evil.example/"},
        "scope": {"scopes": ["two words"]},
        "client": {"client": "nowhere"},
    }.items():
        with pytest.raises(LinkRefused) as refused:
            package.connect_url("customer-42", **said)  # type: ignore[arg-type]
        assert refused.value.retry_after is None
        found[name] = str(refused.value)
    assert "https://evil.example/" in found["address"]
    assert "--return-to" in found["address"]
    assert "scope" in found["scope"]
    assert "nowhere" in found["client"]
    for _ in range(20):
        package.connect_url("customer-42")
    with pytest.raises(LinkRefused) as refused:
        package.connect_url("customer-42")
    assert refused.value.retry_after == 60


@pytest.mark.parametrize("over", ["package over sql"], indirect=True)
def test_without_a_public_listener_no_ticket_is_made(scene: Scene, package: Evergrant) -> None:
    for gone in ("public_url = null", "public_url_seen_at = clock_timestamp() - interval '3 minutes'"):
        scene.harness.run(f"update evergrant.installation set {gone}")  # noqa: S608  # constants
        with pytest.raises(NotConfigured, match="EVERGRANT_PUBLIC_URL"):
            package.connect_url("customer-42")
    assert scene.rows("select from evergrant.tickets") == []


def test_who_may_not_is_told_so_over_either(scene: Scene, made: Logins, addresses: Addresses, client: int) -> None:
    only_reads = application.new_key()
    with transaction() as connection:
        application.add(connection, "reader", key=only_reads, who="tests", may=("read",))
    keys = made.harness.settings.access_token_keys
    assert keys is not None
    dsn = made.address(made.login(made.role("shop", may=("read",))))
    scene.harness.grant(client, "customer-42", status="needs_consent", reason="response_lost")
    for evergrant in (
        Evergrant(token_url=addresses.token, application_key=only_reads),
        Evergrant(dsn=dsn, access_keys=keys.get_secret_value()),
    ):
        with pytest.raises(NotAllowed):
            evergrant.connect_url("customer-42")
        with pytest.raises(NeedsConsent) as needed:
            evergrant.access_token("customer-42")
        assert needed.value.connect_url is None
        evergrant.close()
    assert scene.rows("select from evergrant.tickets") == []
