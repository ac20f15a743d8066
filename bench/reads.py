"""How many access tokens a second applications can read, and what a read costs: the view, the client, and HTTP.

    python -m bench.reads
    python -m bench.reads --grants 1000 --askers 4 --seconds 1 --runs 1
    python -m bench.reads --only http --audit

The reader is a process of its own (`bench.reader`), with the rights of an application. Each way of reading is tried by
one asker and by several at once. Read are some thousand grants, chosen by chance among all: each has a token that
opens, and none is too old, so nothing is refreshed. Nobody may read the whole table for that: PostgreSQL's own count of
such reads must not move, and the plans are kept with the results.
"""

import json
import random
import secrets
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
from psycopg import sql

from bench import fleet, machine, plan, report
from bench.contestants.contestant import ref_of
from bench.machine import ROOT
from bench.reader import KINDS, VIEW
from bench.stage import NotDone, Stage, register, stage
from models.sealing.keys import VARIABLES
from models.views import access_token
from settings import current

NAMES = {
    "view": "the SQL view",
    "client-sql": "the client over SQL",
    "client-http": "the client over HTTP",
    "client-memory": "the client, from its memory",
    "http": "HTTP, connections kept",
    "http-lean": "HTTP, by a reader that costs next to nothing",
}
OVER_HTTP = ("http", "http-lean", "client-http")
READ_AT_MOST = 30_000  # grants: a client asks for each once, then it remembers
COUNTS = "select seq_scan, idx_tup_fetch from pg_stat_user_tables where relid = 'evergrant.grants'::regclass"


@click.command()
@click.option("--grants", default="10000,1000000", show_default=True)
@click.option("--only", multiple=True, type=click.Choice(KINDS))
@click.option("--askers", default="1,16", show_default=True, help="How many ask at once.")
@click.option("--seconds", default=4.0, show_default=True, help="How long each round reads.")
@click.option("--runs", default=3, show_default=True)
@click.option("--audit", is_flag=True, help="Web notes each read in an audit file.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of results.")
def main(
    *, grants: str, only: tuple[str, ...], askers: str, seconds: float, runs: int, audit: bool, out: Path | None
) -> None:
    """Read from fleets one after the other, each on engines of its own."""
    begun = machine.described()
    measured: list[dict[str, Any]] = []
    for count in map(int, grants.split(",")):
        with stage() as here:
            env = _prepare(here, count, audit=audit)
            for kind in only or KINDS:
                for many in map(int, askers.split(",")):
                    measured.append(
                        _measure(here, env, kind=kind, grants=count, askers=many, seconds=seconds, runs=runs)
                    )
                    report.say(*(f"{name}: {value}" for name, value in _line(measured[-1]).items()))
    report.say()
    report.table([_line(row) for row in measured])
    report.save("reads", measured, begun=begun, folder=out)
    sys.exit(1 if any(row["scans_of_the_fleet"] for row in measured) else 0)


def _prepare(here: Stage, count: int, *, audit: bool) -> dict[str, str]:
    """Make the fleet, `evergrant web`, and an application; returns the application's environment."""
    register(here, here.provider(), name="bench", rotation="on_use")
    chosen = set(random.sample(range(count), min(count, READ_AT_MOST)))
    fleet.fill_openable(here, count, first_due=timedelta(hours=1), opens=lambda index, _: index in chosen)
    refs = [ref_of(index) for index in chosen]
    random.shuffle(refs)
    (here.home / "refs.txt").write_text("\n".join(refs), encoding="utf-8")
    socket, key = here.home / "tokens.sock", here.home / "application.key"
    here.command("apps", "add", "bench", "--key-file", str(key))
    here.command("db", "roles", "--apply")
    listening = {
        "EVERGRANT_TOKEN_BIND": str(socket),
        "EVERGRANT_OPS_BIND": str(here.home / "ops.sock"),
        "EVERGRANT_TOKEN_REQUESTS_PER_SECOND": "1000000",
    }
    if audit:
        listening["EVERGRANT_AUDIT_FILE"] = str(here.home / "audit.jsonl")
    here.python("web", "worker.cli", "web", env=listening)
    here.wait_said("web", "web.listening")
    return {
        "dsn": _login(here),
        "keys_file": str(current().access_token_keys_file),
        "url": f"unix:{socket}",
        "application_key_file": str(key),
    }


def _login(here: Stage) -> str:
    """The address of a login that may read tokens, and nothing else."""
    password = secrets.token_hex(8)
    make = sql.SQL("create role application login password {} in role evergrant_reader").format(password)
    with here.engines.postgres.connect(_database(here)) as connection:
        connection.execute(make)
    return f"host={here.engines.postgres.sockets} dbname={_database(here)} user=application password={password}"


def _database(here: Stage) -> str:
    return str(here.sql("select current_database() as name")[0]["name"])


def _measure(
    here: Stage, env: Mapping[str, str], *, kind: str, grants: int, askers: int, seconds: float, runs: int
) -> dict[str, Any]:
    before = here.sql(COUNTS)[0]
    rounds = [_round(here, _environment(env, kind), kind, askers, seconds) for _ in range(runs)]
    here.check_alive()
    after = here.sql(COUNTS)[0]
    reads = sum(each["reads"] for each in rounds)
    cpu = {
        name: report.spread(each["cpu_seconds"][name] / each["reads"] * 1e6 for each in rounds)
        for name in rounds[0]["cpu_seconds"]
    }
    return {
        "kind": kind,
        "name": NAMES[kind],
        "grants": grants,
        "askers": askers,
        "per_second": report.spread(each["reads"] / each["seconds"] for each in rounds),
        "cpu_us": cpu,
        "p50_ms": report.spread(each["p50_ms"] for each in rounds),
        "p99_ms": report.spread(each["p99_ms"] for each in rounds),
        "scans_of_the_fleet": after["seq_scan"] - before["seq_scan"],
        "rows_a_read": (after["idx_tup_fetch"] - before["idx_tup_fetch"]) / reads,
        "plan": _plan(here, kind),
        "load": machine.load(),
    }


def _environment(known: Mapping[str, str], kind: str) -> dict[str, str]:
    """As an application would be configured: the database and its key ring, or the token interface and its key."""
    path = {"PYTHONPATH": f"{ROOT}:{ROOT / 'client'}"}
    if kind in OVER_HTTP:
        where = {"EVERGRANT_TOKEN_URL": known["url"]}
        return {**path, **where, "EVERGRANT_APPLICATION_KEY_FILE": known["application_key_file"]}
    return {**path, "EVERGRANT_CLIENT_DSN": known["dsn"], f"{VARIABLES['access']}_FILE": known["keys_file"]}


def _round(here: Stage, env: Mapping[str, str], kind: str, askers: int, seconds: float) -> dict[str, Any]:
    watched = {"postgres": here.engine_pids["postgres"][0], "web": here.pids("web")[0]}
    options = [f"--askers={askers}", f"--seconds={seconds}", f"--refs={here.home / 'refs.txt'}"]
    options += [f"--watch={name}={pid}" for name, pid in watched.items()]
    log = here.log_of("reader")
    log.unlink(missing_ok=True)
    reader = here.python("reader", "bench.reader", kind, *options, env=env)
    if not reader.wait(seconds + 120) or reader.exit_code:
        raise NotDone(f"{kind}: {here.tail('reader')}")
    here.processes.pop("reader")
    found: dict[str, Any] = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
    return found


def _plan(here: Stage, kind: str) -> list[str]:
    if kind in OVER_HTTP:
        asked = {"refs": [ref_of(0)], "clients": [None], "keys": [b""], "environment": None}
        return plan.scans(here, str(access_token.BY_REF), asked)
    return plan.scans(here, VIEW, {"ref": ref_of(0)})


def _line(row: dict[str, Any]) -> dict[str, object]:
    rate = row["per_second"]
    return {
        "read by": row["name"],
        "grants": row["grants"],
        "at once": row["askers"],
        "reads/s": rate["median"],
        "spread": f"{rate['least']:.0f}-{rate['greatest']:.0f}",
        "p50 ms": row["p50_ms"]["median"],
        "p99 ms": row["p99_ms"]["median"],
        **{f"{name} us": spread["median"] for name, spread in row["cpu_us"].items()},
        "rows a read": row["rows_a_read"],
        "scans": row["scans_of_the_fleet"],
    }


if __name__ == "__main__":
    main()
