"""A day in the life of a fleet, faster: does the claim stay as cheap as it was, and what becomes of table and indexes?

    python -m bench.day
    python -m bench.day --hours 8 --runs 3
    python -m bench.day --grants 80000 --hours 3 --speed 40 --storage autovacuum_vacuum_scale_factor=0.2

Lives are shortened by `--speed`, so an hour of a fleet passes in a minute, with as many claims, starts and settles as
in that hour, each as its own statement and commit. One process carries them out, without broker and HTTP: it is the
database that is looked at. Autovacuum looks as many times more often, and waits as much less between pages. Where
`refreshes` stays below `expected` the machine is too slow for that speed.
"""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import uniform
from typing import Any

import click
from sqlalchemy import Connection, text

from bench import fleet, machine, meter, report
from bench.stage import Stage, register, stage
from models import attempt, database, locked_grant, token_set
from models.claim import Job
from models.locked_grant import LockedGrant
from models.token_set import Stored
from tasks.claim import MOST
from tasks.claim import claim as claim_client

BATCH = 50
LEASE = timedelta(seconds=30)
COUNTS = text("""
select n_tup_upd as updated, n_tup_hot_upd as hot, n_dead_tup as dead, autovacuum_count as vacuums,
    pg_table_size('evergrant.grants') / 1e6 as table_mb, pg_indexes_size('evergrant.grants') / 1e6 as indexes_mb,
    pg_relation_size('evergrant.ix_grants_due') / 1e6 as due_index_mb,
    pg_total_relation_size('evergrant.former_tokens') / 1e6 as former_tokens_mb,
    pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8 as wal
from pg_stat_user_tables where relid = 'evergrant.grants'::regclass
""")


@dataclass
class Hour:
    """What one hour cost so far."""

    expected: float
    claimed: int = 0
    stored: int = 0
    claim_seconds: float = 0.0
    begun: dict[str, float] = field(default_factory=dict)


@click.command()
@click.option("--grants", default=20_000, show_default=True)
@click.option("--hours", default=24.0, show_default=True)
@click.option("--speed", default=240, show_default=True, help="Times faster than life.")
@click.option("--rotation", default="on_use", show_default=True, help="`on_use` keeps twenty predecessors a grant.")
@click.option("--runs", default=1, show_default=True, help="Each on engines of its own.")
@click.option("--storage", help="Storage parameters of the table to try instead of ours, such as fillfactor=70.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of results.")
def main(
    *, grants: int, hours: float, speed: int, rotation: str, runs: int, storage: str | None, out: Path | None
) -> None:
    """Let a fleet live for some hours, and look at the table after each."""
    begun = machine.described()
    lived = [_live(grants, hours, speed, rotation, storage) for _ in range(runs)]
    rows = [_over_all(same) for same in zip(*lived, strict=True)]
    report.say()
    report.table([{name: report.median(value) for name, value in row.items()} for row in rows])
    known = {"grants": grants, "speed": speed, "rotation": rotation, "runs": runs, "storage": storage}
    report.save("day", {**known, "load": machine.load(), "hours": rows}, begun=begun, folder=out)


def _live(grants: int, hours: float, speed: int, rotation: str, storage: str | None) -> list[dict[str, Any]]:
    with stage() as here:
        provider = here.provider()
        register(here, provider, name="bench", rotation=rotation, options=("--burst", str(max(2000, grants))))
        _hurry_autovacuum(here, speed, storage)
        life = fleet.LIFE / speed
        fleet.fill(here, grants, first_due="1 second", life=life)
        return list(_hours(here, hours, timedelta(hours=1) / speed, life))


def _over_all(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The same hour of all runs."""
    hour = rows[0]["hour"]
    return {"hour": hour, **{name: report.spread(row[name] for row in rows) for name in rows[0] if name != "hour"}}


def _hurry_autovacuum(here: Stage, speed: int, storage: str | None) -> None:
    """In a second of ours pass `speed` of theirs."""
    here.sql(f"alter system set autovacuum_naptime = {max(1, 60 // speed)}")
    here.sql(f"alter system set autovacuum_vacuum_cost_delay = {2 / speed}")
    here.sql("select pg_reload_conf()")
    if storage:
        here.sql(f"alter table evergrant.grants set ({storage})")


def _hours(here: Stage, hours: float, hour: timedelta, life: timedelta) -> Iterator[dict[str, Any]]:
    """Claim, start and settle whatever is due, and tell what each hour cost."""
    journal = here.sql("insert into evergrant.journals (host, process) values ('bench', 'day') returning id")[0]["id"]
    client, grants = here.sql("select client_id as id, count(*) as grants from evergrant.grants group by 1")[0].values()
    pause = MOST * life.total_seconds() * 2 / 3 / grants  # until so many are due as a claim takes
    with database.engine().connect() as claiming, database.engine().connect() as working:
        pid = claiming.execute(text("select pg_backend_pid()")).scalar_one()
        claiming.commit()
        for number in range(1, round(hours) + 1):
            this = Hour(expected=grants * 1.5 * (hour / life), begun=_counted(claiming, pid))
            end = time.monotonic() + hour.total_seconds()
            while time.monotonic() < end:
                jobs = _claim(claiming, client, this)
                for first in range(0, len(jobs), BATCH):
                    _refresh(working, jobs[first : first + BATCH], journal, life)
                this.stored += len(jobs)
                if len(jobs) < MOST:
                    time.sleep(min(pause, max(0.0, end - time.monotonic())))
            told = _told(number, this, _counted(claiming, pid))
            report.say(" ".join(f"{name} {value:.4g}" for name, value in told.items()))
            yield told


def _claim(connection: Connection, client: int, hour: Hour) -> list[Job]:
    """What beat does, timed with its commit."""
    begun = time.perf_counter()
    with connection.begin():
        jobs = claim_client(connection, client, lease=LEASE).due
    hour.claim_seconds += time.perf_counter() - begun
    hour.claimed += len(jobs)
    return jobs


def _refresh(connection: Connection, jobs: Sequence[Job], journal: int, life: timedelta) -> None:
    """What a worker does with a batch, each step in its own transaction, and every answer is well."""
    with connection.begin():
        started = attempt.start(connection, jobs, journal_id=journal)
    with connection.begin():
        held = locked_grant.lock(connection, [one.grant_id for one in started])
        token_set.store(connection, [_answer(each, life) for each in held.values()])


def _answer(held: LockedGrant, life: timedelta) -> Stored:
    return Stored(
        grant_id=held.grant_id,
        generation=held.generation,
        sealed_refresh_token=os.urandom(90),
        sealed_access_token=os.urandom(90),
        refresh_fingerprint=os.urandom(32),
        scope="crm_read",
        life=life,
        started_at=held.at,
        due_at=held.at + life * uniform(17 / 30, 23 / 30),
        credentials_no=1,
        spent_refused_at=None,
        sent=held.refresh_fingerprint or b"",
        is_former=False,
        ends_predecessor=False,
        is_crowded=len(held.former_fingerprints) >= token_set.PREDECESSORS_KEPT,
    )


def _counted(connection: Connection, pid: int) -> dict[str, float]:
    with connection.begin():
        connection.execute(text("select pg_stat_force_next_flush()"))
        found = {name: float(value) for name, value in connection.execute(COUNTS).mappings().one().items()}
    return {**found, "cpu": meter.cpu_seconds([pid])}


def _told(number: int, hour: Hour, now: dict[str, float]) -> dict[str, Any]:
    def since(name: str) -> float:
        return now[name] - hour.begun[name]

    claimed = max(hour.claimed, 1)
    return {
        "hour": number,
        "refreshes": hour.stored,
        "expected": hour.expected,
        "claim_us": hour.claim_seconds / claimed * 1e6,
        "claim_cpu_us": since("cpu") / claimed * 1e6,
        "hot_percent": since("hot") / max(since("updated"), 1) * 100,
        "dead_rows": now["dead"],
        "vacuums": since("vacuums"),
        "wal_bytes": since("wal") / claimed,
        **{name: now[name] for name in ("table_mb", "indexes_mb", "due_index_mb", "former_tokens_mb")},
    }


if __name__ == "__main__":
    main()
