"""Preparations of a demo: clients at the provider, the same grants for both sides, their processes."""

import json
import os
import secrets
import time
from collections.abc import Mapping
from typing import Any

from models.database import transaction
from models.views import fleet
from settings import current
from simulator.control import as_json_lines
from worker.demo import plan
from worker.demo.installation import START_SECONDS, Installation, NotReady, usual_job
from worker.demo.plan import LEFT, OURS, USUAL, Plan
from worker.embedded import supervisor

PROVIDER_FILE = """\
title = "The bundled simulator, as the demo runs it"
authorize_url = "{url}/oauth/authorize"
token_url = "{url}/oauth/token"
revoke_url = "{url}/oauth/revoke"
api_url = "{url}/v2/bookings"
confirm_url = "{url}/oauth/token/info"
body = "json"
scopes = ["crm_read", "crm_manage"]
scope_separator = ","
rotation = "on_use"
probe = true
revocation = "token"
deadline_seconds = {deadline}
default_life_seconds = 25
"""
# So quick that all grants may be due at once; a demo of many grants would wait for itself otherwise.
BURST = 2000


def prepare(installation: Installation, wanted: Plan) -> Plan:
    """Register both sides, give each its grants, start its processes, and wait until they work.

    Returns the plan at the pace of this machine.

    Raises:
        NotReady: a command failed, or a process did not start.
        Stopped: a signal came.

    """
    installation.secrets = {side: secrets.token_urlsafe(16) for side in (USUAL, OURS)}
    for client_id, secret in installation.secrets.items():
        installation.provider.create_client(client_id, secret)
    began = time.monotonic()
    _register(installation, installation.secrets[OURS])
    wanted = wanted.on_machine(command_seconds=time.monotonic() - began)
    _equip_usual_job(installation, installation.secrets[USUAL], wanted)
    _import_ours(installation, wanted)
    _import_usual(installation, wanted)
    _start(installation)
    return wanted


def _register(installation: Installation, secret: str) -> None:
    """Write a provider file of our own and add a client, as a user would."""
    write_provider_file(installation.provider.url, deadline_seconds=plan.DEADLINE_SECONDS)
    names = ("--provider", "demo", "--client-id", OURS, "--client-secret-file", "-", "--burst", str(BURST))
    installation.command("clients", "add", "demo", *names, stdin=secret)


def write_provider_file(url: str, *, deadline_seconds: float) -> None:
    """Say what is known of the provider, and how long a request to it may take."""
    folder = current().provider_folder
    folder.mkdir(mode=0o700, exist_ok=True)
    text = PROVIDER_FILE.format(url=url, deadline=deadline_seconds)
    (folder / "demo.toml").write_text(text, encoding="utf-8")


def _equip_usual_job(installation: Installation, secret: str, wanted: Plan) -> None:
    url = installation.engines.postgres.url.replace("postgresql://", "postgresql+psycopg://")
    os.environ.update(
        NAIVE_PROVIDER_URL=installation.provider.url,
        NAIVE_CLIENT_ID=USUAL,
        NAIVE_CLIENT_SECRET=secret,
        NAIVE_DATABASE_URL=url,
        NAIVE_BROKER_URL=installation.engines.valkey.url_of(1),
        NAIVE_SCAN_SECONDS=plan.USUAL_SCAN_SECONDS,
        NAIVE_MARGIN_SECONDS=str(wanted.usual_margin_seconds),
    )


def _import_ours(installation: Installation, wanted: Plan) -> None:
    kept, left = _minted(installation, OURS, wanted)
    installation.command("grants", "import", "-", "--client", "demo", stdin=as_json_lines(kept))
    installation.command("grants", "import", "-", "--client", "demo", "--paused", stdin=as_json_lines(left))


def _import_usual(installation: Installation, wanted: Plan) -> None:
    kept, left = _minted(installation, USUAL, wanted)
    rows = [row | {"status": "active"} for row in kept] + [row | {"status": "paused"} for row in left]
    file = installation.home / "usual-job.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    installation.usual_job("load", str(file))


Rows = list[dict[str, Any]]


def _minted(installation: Installation, client_id: str, wanted: Plan) -> tuple[Rows, Rows]:
    """New consents of the customers who stay, and of those who left."""
    kept = [
        row
        for life in sorted(set(wanted.lives.values()))
        for row in installation.provider.mint(client_id, refs=_refs_of(wanted.lives, life), lifetime=life)
    ]
    left = installation.provider.mint(client_id, refs=list(LEFT), lifetime=plan.LEFT_LIFE_SECONDS)
    return kept, left


def _refs_of(lives: Mapping[str, int], life: int) -> list[str]:
    return [ref for ref, each in lives.items() if each == life]


def _start(installation: Installation) -> None:
    """Start a worker and a beat of each side, and wait until all four are at work."""
    (worker,), (beat,) = supervisor.stages(current(), workers=1, concurrency=current().concurrency)
    options = ("--loglevel=INFO", "--pool=threads", f"--concurrency={current().concurrency}", "-n", f"{USUAL}@%h")
    usual_worker = usual_job("worker", *options, name="usual-worker")
    schedule = installation.home / "usual-job.schedule"
    usual_beat = usual_job("beat", "--loglevel=INFO", "-s", str(schedule), name="usual-beat")
    installation.supervisor.start([[worker, usual_worker], [beat, usual_beat]])
    if not installation.wait_until(lambda: _all_work(installation), seconds=START_SECONDS):
        raise NotReady(what="some worker or beat did not start")


def _all_work(installation: Installation) -> bool:
    with transaction() as connection:
        kinds = {each["kind"] for each in fleet.processes(connection) if each["alive"]}
    said = installation.log.read_text(encoding="utf-8", errors="replace")
    usual = f"{USUAL}@" in said and " ready." in said and "beat: Starting" in said
    return usual and kinds >= {"worker", "beat"}
