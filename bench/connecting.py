"""Customers who connect at once: how long each waits beyond the provider's own time, and whether refreshing feels it.

    python -m bench.connecting
    python -m bench.connecting --customers 50 --grants 2000 --seconds 3

A fleet is kept warm while so many customers open their links, press the button, and come back with a code, all in the
same moment: the public listener, beat and a worker of one machine do it all. Counted is from the request that brings
the code to the page that says *Connected*, less what the provider takes to answer.
"""

import asyncio
import re
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import click

from bench import fleet, machine, report
from bench.stage import NotDone, Stage, register, stage, wait

URL = "https://connect.test"
DELAY_SECONDS = 0.05
FORM = re.compile(r'name="form" value="([0-9a-f]+)"')
LOOKS = 60  # at a page that waits
TICKET = "select evergrant.request_connect(ref => %s, client => 'shop') as ticket"
LATE = """
select count(*) as refreshed, percentile_cont(array[0.5, 0.99]) within group (order by late) as late
from (
    select extract(epoch from g.refreshed_at - was.due_at)::float as late
    from evergrant.grants g join public.was on was.id = g.id
    where g.generation > 1 and g.refreshed_at between %s and %s
) seen
"""


@dataclass
class Customer:
    """One browser, and what it has seen: seconds to the first page, to the provider, and to the end."""

    ticket: str
    number: int
    opened: float = 0.0
    sent: float = 0.0
    ended: float = 0.0

    async def connect(self, session: aiohttp.ClientSession, public: str) -> None:
        """Go the whole way; the provider says yes at once."""
        mine = {"X-Forwarded-Proto": "https", "X-Forwarded-For": f"198.51.{self.number // 250}.{self.number % 250}"}
        path = f"{public}/connect/{self.ticket}"
        begun = time.perf_counter()
        async with session.get(path, headers=mine) as page:
            (form,) = FORM.findall(await page.text())
            mine["Cookie"] = page.headers["Set-Cookie"].partition(";")[0]
        self.opened, begun = time.perf_counter() - begun, time.perf_counter()
        async with session.post(path, data={"form": form}, headers=mine, allow_redirects=False) as sent:
            (state,) = parse_qs(urlsplit(sent.headers["Location"]).query)["state"]
        self.sent, begun = time.perf_counter() - begun, time.perf_counter()
        back = f"{public}/callback?code=code-{self.number:07d}&state={state}"
        async with session.get(back, headers=mine, allow_redirects=False) as came:
            outcome = public + came.headers["Location"]
        for _ in range(LOOKS):
            async with session.get(outcome, headers=mine) as page:
                if ">Connected<" in (text := await page.text()):
                    self.ended = time.perf_counter() - begun - DELAY_SECONDS
                    return
                if "Refresh" not in page.headers:
                    raise NotDone(f"customer {self.number}: {text[-600:]}")
            await asyncio.sleep(int(page.headers["Refresh"]))
        raise NotDone(f"customer {self.number} still waits")


@click.command()
@click.option("--customers", default=200, show_default=True, help="Who connect in the same moment; 250 at most.")
@click.option(
    "--grants", default=200_000, show_default=True, help="The fleet beside: 208 refreshes a second a million."
)
@click.option("--seconds", default=20.0, show_default=True, help="Of refreshing alone that are compared with.")
@click.option("--runs", default=3, show_default=True)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of results.")
def main(*, customers: int, grants: int, seconds: float, runs: int, out: Path | None) -> None:
    """Let them connect, and watch both."""
    begun = machine.described()
    with stage() as here:
        public = _prepare(here, grants, seconds, runs)
        rounds = [_run(here, public, customers, seconds, first=number * customers) for number in range(runs)]
        here.check_alive()
    measured = {name: report.spread(each[name] for each in rounds) for name in rounds[0]}
    report.say()
    report.table([{"figure": name, **values} for name, values in measured.items()])
    known = {"customers": customers, "grants": grants, "runs": runs, "load": machine.load()}
    report.save("connecting", {**known, **measured}, begun=begun, folder=out)


def _prepare(here: Stage, grants: int, seconds: float, runs: int) -> str:
    """A fleet that is refreshed, and a client whose customers will come; returns where the public listener stands."""
    kept, shop = here.provider("A"), here.provider("B")
    kept.order("_reset", count=grants, delay=DELAY_SECONDS)
    shop.order("_reset", count=0, delay=DELAY_SECONDS)
    register(here, kept, name="bench", rotation="on_use")
    watched = timedelta(seconds=120 + runs * 4 * (seconds + 30))
    fleet.fill_openable(here, grants, first_due=timedelta(seconds=30), opens=lambda _, until: until < watched)
    here.sql("create table public.was as select id, due_at from evergrant.grants")
    register(here, shop, name="shop", rotation="on_use")
    here.python("worker", "worker.cli", "worker")
    here.python("beat", "worker.cli", "beat")
    place = {
        "EVERGRANT_PUBLIC_BIND": "127.0.0.1:0",
        "EVERGRANT_PUBLIC_URL": URL,
        "EVERGRANT_PUBLIC_BEHIND_PROXY": "true",
    }
    here.python("web", "worker.cli", "web", env={**place, "EVERGRANT_OPS_BIND": "127.0.0.1:0"})
    here.wait_said("web", "web.listening")
    wait(lambda: kept.ask("_report")["refreshed"] > 0, "nothing is refreshed", seconds=600)
    said = here.log_of("web").read_text(encoding="utf-8")
    return str(re.findall(r'"public": "(http[^"]+)"', said)[0])


def _run(here: Stage, public: str, count: int, seconds: float, *, first: int) -> dict[str, float]:
    quiet_since = _now(here)
    time.sleep(seconds)
    alone = here.sql(LATE, [quiet_since, _now(here)])[0]
    refs = range(first, first + count)
    who = [Customer(here.sql(TICKET, [f"customer-{n}"])[0]["ticket"], n) for n in refs]
    since, began = _now(here), time.monotonic()
    asyncio.run(_all(who, public))
    lasted = time.monotonic() - began
    beside = here.sql(LATE, [since, _now(here)])[0]
    found = {
        "all_connected_after_seconds": lasted,
        **_told("page", [each.opened for each in who]),
        **_told("sent_on", [each.sent for each in who]),
        **_told("connected", [each.ended for each in who]),
        "refreshes_per_second_alone": alone["refreshed"] / seconds,
        "refreshes_per_second_beside": beside["refreshed"] / lasted,
        "late_p99_seconds_alone": (alone["late"] or [0, 0])[1],
        "late_p99_seconds_beside": (beside["late"] or [0, 0])[1],
    }
    report.say({name: round(value, 3) for name, value in found.items()}, f"load {machine.load()}")
    return found


async def _all(who: Sequence[Customer], public: str) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(each.connect(session, public) for each in who))


def _told(name: str, times: Sequence[float]) -> dict[str, float]:
    ranked = sorted(times)
    p99 = ranked[min(len(ranked) - 1, int(len(ranked) * 0.99))]
    return {f"{name}_p50_seconds": statistics.median(ranked), f"{name}_p99_seconds": p99}


def _now(here: Stage) -> Any:
    return here.sql("select clock_timestamp() as at")[0]["at"]


if __name__ == "__main__":
    sys.exit(main())
