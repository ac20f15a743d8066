"""The two providers that scenarios run against, behind one face: the bundled simulator and django-oauth-toolkit."""

import json
import os
import re
import secrets
import sys
import time
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from simulator.control import SimulatorControl
from simulator.launch import simulator_process
from tests.acceptance.programs import Running
from tests.polling import eventually

ORG = "org-1"
REDIRECT_URI = "http://127.0.0.1:8765/callback"


def call(url: str, method: str, path: str, *, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
    """Send one request; returns status and text."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        connection.request(method, path, None if body is None else json.dumps(body), dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


class Provider(ABC):
    """An authorization server with an API, as a test sees it."""

    url: str
    api: str
    rotation: str
    secret: str

    @abstractmethod
    def registration(self) -> list[str]:
        """What `clients add` is told."""

    @abstractmethod
    def mint(self, count: int, prefix: str = "customer-") -> list[dict[str, Any]]:
        """New consents, as rows of an import file."""

    @abstractmethod
    def refreshes(self) -> dict[str, list[float]]:
        """When each ref was refreshed with success, seconds since the epoch."""

    @abstractmethod
    def presented_twice(self) -> int:
        """How many refresh tokens were presented more than once."""

    @abstractmethod
    def lost(self) -> list[str]:
        """Refs of which no usable refresh token is left, though nobody revoked them."""

    @abstractmethod
    def end_by_user(self, refs: Sequence[str]) -> None:
        """These users withdraw their consent."""

    def opens(self, access_token: str) -> int:
        """Present an access token at the API; returns the status."""
        headers = {"Authorization": f"Bearer {access_token}", "X-API-ORG": ORG}
        status: int = call(self.url, "GET", self.api, headers=headers)[0]
        return status


class Simulated(Provider):
    """The bundled simulator, whose ledger tells the truth."""

    api = "/v2/bookings"

    def __init__(
        self, control: SimulatorControl, rotation: str, client_id: str = "app", redirect_uri: str = REDIRECT_URI
    ) -> None:
        self.control = control
        self.url = control.url
        self.rotation = rotation
        self.client_id = client_id
        self.redirect_uri = redirect_uri
        self.secret = secrets.token_urlsafe(12)
        control.create_client(client_id, self.secret, redirect_uri=redirect_uri)

    def another(self, client_id: str, redirect_uri: str = REDIRECT_URI) -> "Simulated":
        """Another client of the same simulator."""
        return Simulated(self.control, self.rotation, client_id, redirect_uri)

    def registration(self) -> list[str]:
        name, _, grace = self.rotation.partition(":")
        paths = {
            "authorize": "/oauth/authorize",
            "token": "/oauth/token",
            "revoke": "/oauth/revoke",
            "api": self.api,
            "confirm": "/oauth/token/info",
        }
        return [
            *("--provider", "simulator", "--client-id", self.client_id, "--redirect-uri", self.redirect_uri),
            *("--rotation", name),
            *(part for kind, path in paths.items() for part in (f"--{kind}-url", self.url + path)),
            *(("--grace", f"{grace}s") if grace else ()),
        ]

    def mint(self, count: int, prefix: str = "customer-") -> list[dict[str, Any]]:
        return self.control.mint(self.client_id, count, ref_prefix=prefix, orgs=[ORG])

    def asked(self) -> list[dict[str, Any]]:
        """Every request at the token endpoint, in order."""
        found: list[dict[str, Any]] = []
        while page := self.control.requests(
            endpoint="token", client_id=self.client_id, after=found[-1]["number"] if found else 0
        ):
            found += page
        return found

    def refreshes(self) -> dict[str, list[float]]:
        times: dict[str, list[float]] = defaultdict(list)
        for request in self.asked():
            if request["issued"] is not None:
                times[request["ref"]].append(request["at"])
        return times

    def presented_twice(self) -> int:
        count: int = self.control.summary(self.client_id)["reuse"]["tokens_used_twice"]
        return count

    def lost(self) -> list[str]:
        return [row["ref"] for row in self.control.lost()]

    def alive(self, ref: str) -> int:
        """How many pairs of a ref are alive, by the ledger."""
        pairs = [pair for grant in self.control.grants(ref) for pair in grant["pairs"]]
        return sum(pair["access_alive"] or pair["refresh_alive"] for pair in pairs)

    def living_tokens(self, ref: str) -> list[str]:
        """The refresh tokens of a ref that are alive."""
        pairs = [pair for grant in self.control.grants(ref) for pair in grant["pairs"]]
        return [pair["refresh_token"] for pair in pairs if pair["refresh_alive"]]

    def end_by_user(self, refs: Sequence[str]) -> None:
        self.control.revoke_as_user(*refs)


class Doorkeeper(Simulated):
    """The same, registered by the provider file of a Doorkeeper that we know no address to confirm at."""

    def registration(self) -> list[str]:
        found = super().registration()
        at = found.index("--confirm-url")
        return [*found[:at], *found[at + 2 :], "--provider", "doorkeeper", "--body", "json"]


@contextmanager
def simulated(rotation: str, *, lifetime: float, **options: Any) -> Iterator[Simulated]:
    """Run a simulator."""
    # A seed of its own, or all simulators would hand out the same tokens.
    seed = secrets.randbelow(2**31)
    with simulator_process(profile=rotation, lifetime=timedelta(seconds=lifetime), seed=seed, **options) as control:
        yield Simulated(control, rotation)


class Toolkit(Provider):
    """django-oauth-toolkit: rotating, with reuse protection, judged by its own tables."""

    api = "/api/bookings"
    rotation = "family"

    def __init__(self, url: str, secret: str, client_id: str = "app", redirect_uri: str = REDIRECT_URI) -> None:
        self.url = url
        self.secret = secret
        self.client_id = client_id
        self.redirect_uri = redirect_uri

    def another(
        self, client_id: str, redirect_uri: str = REDIRECT_URI, *, says_dead: tuple[int, str] | None = None
    ) -> "Toolkit":
        """Another client of the same toolkit; `says_dead`: what it is told of a dead refresh token."""
        new = Toolkit(self.url, secrets.token_urlsafe(12), client_id, redirect_uri)
        wanted = {"client_id": client_id, "secret": new.secret, "redirect_uri": redirect_uri, "says_dead": says_dead}
        self._control("POST", "clients", wanted)
        return new

    def add_user(self, name: str, password: str) -> None:
        """Somebody who can sign in there."""
        self._control("POST", "users", {"name": name, "password": password})

    def registration(self) -> list[str]:
        redirect = ("--redirect-uri", self.redirect_uri)
        return [
            *("--provider", "generic", "--client-id", self.client_id, *redirect, "--body", "form"),
            *("--authorize-url", f"{self.url}/o/authorize/", "--token-url", f"{self.url}/o/token/"),
            *("--revoke-url", f"{self.url}/o/revoke_token/", "--api-url", self.url + self.api),
        ]

    def mint(self, count: int, prefix: str = "customer-") -> list[dict[str, Any]]:
        wanted = {"client_id": self.client_id, "count": count, "prefix": prefix}
        return [json.loads(line) for line in self._control("POST", "grants", wanted).splitlines()]

    def asked(self) -> list[dict[str, Any]]:
        """Every request for a refresh, in order."""
        found: list[dict[str, Any]] = json.loads(self._control("GET", f"asked?client_id={quote(self.client_id)}"))
        return found

    def refreshes(self) -> dict[str, list[float]]:
        times: dict[str, list[float]] = defaultdict(list)
        for row in self.asked():
            if row["status"] == 200:
                times[row["ref"]].append(row["at"])
        return times

    def presented_twice(self) -> int:
        tokens = Counter(row["refresh_token"] for row in self.asked())
        return sum(count > 1 for count in tokens.values())

    def lost(self) -> list[str]:
        return [ref for ref, tokens in self.living().items() if not tokens["refresh"]]

    def living(self) -> dict[str, dict[str, int]]:
        """How many refresh and access tokens of each user live."""
        found: dict[str, dict[str, int]] = json.loads(self._control("GET", "living"))
        return found

    def end_by_user(self, refs: Sequence[str]) -> None:
        self._control("POST", "end", {"refs": list(refs)})

    def _control(self, method: str, path: str, body: Any = None) -> str:
        status, text = call(self.url, method, f"/_control/{path}", body=body)
        assert status == 200, text
        return str(text)


@contextmanager
def toolkit_beside(servers: Any, folder: Path, *, lifetime: float) -> Iterator[Toolkit]:
    """Run the Django project on a database of its own, beside those of the tests."""
    name = f"toolkit_{os.getpid()}_{time.monotonic_ns()}"
    with servers.postgres.connect() as connection:
        connection.execute(f"CREATE DATABASE {name}")
    with toolkit(folder, database_url=servers.postgres.url_of(name), lifetime=lifetime) as provider:
        yield provider
    with servers.postgres.connect() as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def toolkit(folder: Path, *, database_url: str, lifetime: float) -> Iterator[Toolkit]:
    """Run the Django project on an empty database."""
    secret = secrets.token_urlsafe(12)
    env = {
        "PROVIDER_DATABASE_URL": database_url,
        "PROVIDER_LIFETIME_SECONDS": str(int(lifetime)),
        "PROVIDER_CLIENT_SECRET": secret,
    }
    argv = [sys.executable, "-m", "tests.acceptance.django_provider.serve"]
    running = Running("toolkit", argv, env=env, log=folder / "toolkit.log")
    try:
        eventually(lambda: running.said("django-oauth-toolkit at "), timeout=60)
        found = re.search(r"http://[\d.]+:\d+", running.log.read_text(encoding="utf-8"))
        assert found is not None
        yield Toolkit(found.group(), secret)
    finally:
        running.kill()
