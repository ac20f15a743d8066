"""How soon the first byte of each page of the fleet page comes, in a fleet of many grants, over HTTP.

    python -m bench.fleet_page
    python -m bench.fleet_page --rows 200000 --looks 20

One grant in ten thousand fails, one needs consent, one has the label that is searched for; two clients.
"""

import http.client
import statistics
import sys
import time
from pathlib import Path
from typing import Any, LiteralString
from urllib.parse import urlsplit

import click

from bench import fleet, machine, report
from bench.stage import Stage, register, stage

SPOILT: tuple[LiteralString, ...] = (
    """update evergrant.grants set failures = 3, last_error_code = 'timeout', last_error_at = now() - interval '1 hour',
    failing_since = now() - interval '1 hour' where id in (
        select id from evergrant.grants where mod(hashtext(id::text), 10000) = 0)""",
    """update evergrant.grants set status = 'needs_consent', reason = 'revoked_or_expired'
    where mod(hashtext(id::text), 10000) = 1""",
    """update evergrant.grants set labels = '{"org": ["8f2"]}' where mod(hashtext(id::text), 10000) = 2""",
    "vacuum analyze evergrant.grants",
)
PAGES = {
    "/": "the fleet",
    "/clients/bench": "a client",
    "/grants": "grants, the first page",
    "/grants?ref=customer-00012": "grants by the beginning of a ref",
    "/grants?state=failing": "grants that fail",
    "/grants?state=needs_consent": "grants that need consent, which no index has",
    "/grants?label=org%3D8f2": "grants with a label, which no index has",
    "/grants?cause=timeout&client=bench": "grants by a cause, which no index has",
    "/grants/bench/customer-00000042": "one grant",
    "/dead-letters": "dead letters",
    "/revocations": "revocations",
    "/processes": "processes",
    "/events": "events",
}


@click.command()
@click.option("--rows", default="10000,1000000", show_default=True)
@click.option("--looks", default=10, show_default=True, help="At each page, one after the other.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of results.")
def main(*, rows: str, looks: int, out: Path | None) -> None:
    """Measure fleets one after the other, each on engines of its own."""
    begun = machine.described()
    measured = []
    for count in map(int, rows.split(",")):
        with stage() as here:
            measured.append(_measure(here, count, looks))
        report.say(f"{count} rows, load {machine.load()}")
    report.say()
    names = PAGES.values()
    report.table(
        [{"page": name, **{str(each["rows"]): _told(each["ms"][name]) for each in measured}} for name in names]
    )
    report.save("fleet_page", measured, module="fleet_page", begun=begun, folder=out)


def _measure(here: Stage, count: int, looks: int) -> dict[str, Any]:
    register(here, here.provider(), name="bench", rotation="on_use")
    fleet.fill(here, count)
    for statement in SPOILT:
        here.sql(statement)
    here.python("web", "worker.cli", "web", env={"EVERGRANT_OPS_BIND": "127.0.0.1:0"})
    here.wait_said("web", "web.listening")
    place = here.log_of("web").read_text(encoding="utf-8").partition('"ops": "')[2].partition('"')[0]
    first = _first_byte(place, "/")
    report.say(f"  {count}: the very first look, which counts: {first:.0f} ms")
    found = {name: [_first_byte(place, path) for _ in range(looks)] for path, name in PAGES.items()}
    return {"rows": count, "load": machine.load(), "first_look_ms": first, "ms": found}


def _first_byte(place: str, path: str) -> float:
    """Milliseconds until the head of the answer is there, connection included."""
    begun = time.perf_counter()
    connection = http.client.HTTPConnection(urlsplit(place).netloc, timeout=60)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        lasted = (time.perf_counter() - begun) * 1000
        answer.read()
        if answer.status != 200:
            report.say(f"  {path}: {answer.status}")
        return lasted
    finally:
        connection.close()


def _told(times: list[float]) -> str:
    return f"{statistics.median(times):.0f} ms, at most {max(times):.0f}"


if __name__ == "__main__":
    sys.exit(main())
