"""Revocations as function calls: one look of beat and what a worker makes of it, against a simulator over HTTP."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from models import client as clients
from models.claim import Job
from models.database import transaction
from simulator.control import SimulatorControl
from tasks import refresh
from tasks.oauth.messages import Request
from tasks.revoke import RevocationAttempt, begin
from tasks.runtime import retry
from tests.harness import Harness

ORG = {"org": ["o1"]}


def client_of(harness: Harness, simulator: SimulatorControl, *, proven: bool = True, **more: Any) -> int:
    """A client whose endpoints are the simulator's."""
    url = simulator.url
    urls = {
        "token_url": f"{url}/oauth/token",
        "revoke_url": f"{url}/oauth/revoke",
        "api_url": f"{url}/v2/bookings",
    }
    client = harness.client(**{"rotation": "on_use", **urls, **more})
    if proven:
        harness.run("update evergrant.valves set credentials_proven_no = 1 where client_id = :id", id=client)
    return client


def mint(simulator: SimulatorControl, ref: str = "customer", **more: Any) -> dict[str, Any]:
    return simulator.mint("app", refs=[ref], orgs=["o1"], **more)[0]


def ask(harness: Harness, client: int) -> None:
    """One real refresh of the grant that is due."""
    attempt = harness.begin(client)
    request = refresh.request_of(harness.runtime, attempt)
    assert isinstance(request, Request)
    sending = retry.send(harness.runtime.transport, request, deadline=timedelta(seconds=5), guard=lambda: None)
    harness.settle((attempt, harness.runtime.transport.submit(sending).result()))


def end(harness: Harness, client: int) -> None:
    """One look of beat, and what a worker makes of the revocations it finds."""
    carry_out(harness, harness.claim(client).revocations)


def carry_out(harness: Harness, jobs: Sequence[Job]) -> None:
    """What a worker makes of claimed revocations."""
    for job in jobs:
        for attempt in begin(harness.runtime, job):
            RevocationAttempt(harness.runtime, attempt).carry_out()


def revoke(harness: Harness, client: int, *, looks: int = 30, apart: float = 20) -> dict[str, Any]:
    """Ask for the revocation and carry it out, `apart` seconds going by between the looks."""
    harness.run("select evergrant.request_revocation('customer')")
    for _ in range(looks):
        end(harness, client)
        if found(harness)["status"] in ("done", "dead"):
            break
        harness.later(seconds=apart)
    return found(harness)


def found(harness: Harness) -> dict[str, Any]:
    return dict(harness.one("select * from evergrant.revocations"))


def living(simulator: SimulatorControl, ref: str = "customer") -> list[int]:
    """The pairs of which anything is alive at the provider."""
    (grant,) = simulator.grants(ref)
    return [each["pair"] for each in grant["pairs"] if each["access_alive"] or each["refresh_alive"]]


def stray(harness: Harness, grant: UUID, pair: dict[str, Any], *, expired: bool = False) -> None:
    """Keep a pair as surplus."""
    harness.former(grant, "x", kind="surplus")
    seal = harness.runtime.vault.seal
    harness.run(
        """update evergrant.former_tokens set sealed_refresh_token = :refresh, sealed_access_token = :access,
            refresh_fingerprint = :fingerprint, access_expires_at = clock_timestamp() + make_interval(secs => :left)
        where refresh_fingerprint = :before""",
        refresh=seal(pair["refresh_token"], table="grants", row_id=grant, purpose="refresh"),
        access=seal(pair["access_token"], table="grants", row_id=grant, purpose="access"),
        fingerprint=harness.runtime.vault.fingerprint(pair["refresh_token"]),
        left=-1 if expired else 3600,
        before=harness.runtime.vault.fingerprint("rt-x"),
    )


def chain(harness: Harness, simulator: SimulatorControl, client: int, length: int) -> UUID:
    """A grant whose access tokens nobody ever used: at `on_use` all its pairs are alive."""
    grant = harness.grant(client, pair=mint(simulator), labels=ORG)
    for _ in range(length - 1):
        harness.until_due(grant)
        ask(harness, client)
    assert len(living(simulator)) == length
    return grant


def confirm_registration(
    harness: Harness, simulator: SimulatorControl, client: int, *, address: str | None = None
) -> Any:
    url = address or f"{simulator.url}/oauth/token/info"
    harness.run(
        """update evergrant.clients set updated_at = clock_timestamp(),
            overrides = overrides || jsonb_build_object('confirm_url', cast(:url as text))""",
        url=url,
    )
    with transaction() as connection:
        return harness.runtime.registrations.ready(clients.known(connection, [client])[client])
