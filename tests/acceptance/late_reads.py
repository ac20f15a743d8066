"""Reads over HTTP race revocations and new token sets: nothing that was committed before a request is unseen by it.

The test runs it with a few; with the numbers of the goal:

    python -m tests.acceptance.late_reads --reads 100000 --revocations 1000
"""

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import click
import psycopg

from tests.acceptance.installation import Installation
from tests.acceptance.long_form import judged
from tests.acceptance.providers import simulated
from tests.polling import eventually
from worker.embedded.engines import Engines

ASKERS = 16
NEAR = 3  # half of the reads are of grants so near to the one whose turn it is
REVOKE = "select evergrant.request_revocation(%s)"
RENEW = "update evergrant.grants set generation = generation + 1 where ref = %s"


@dataclass
class LateReport:
    """What readers saw, and what had been committed when they asked."""

    answers: Counter[int] = field(default_factory=Counter)  # by status
    revoked: set[str] = field(default_factory=set)
    late: list[str] = field(default_factory=list)  # handed out, though the revocation was committed before
    stale: list[str] = field(default_factory=list)  # an older generation than was committed before
    mixed: list[str] = field(default_factory=list)  # somebody else's answer

    def faults(self) -> list[str]:
        """Name whatever is not as promised."""
        checks = {
            f"handed out after the commit of their revocation: {self.late[:5]}": self.late,
            f"older than what was committed before: {self.stale[:5]}": self.stale,
            f"another grant's answer: {self.mixed[:5]}": self.mixed,
            f"answers of other kinds: {dict(self.answers)}": self.answers.keys() - {200, 410},
            "nothing was handed out, or nothing refused": not {200, 410} <= self.answers.keys(),
        }
        return [fault for fault, seen in checks.items() if seen]

    def told(self) -> str:
        """In a line."""
        return (
            f"{self.answers.total()} reads beside {len(self.revoked)} revocations: {dict(self.answers)},"
            f" {len(self.late)} late, {len(self.stale)} stale, {len(self.mixed)} mixed"
        )


class Race:
    """Readers, and who revokes the grants one after the other as the reads go on; all on one loop."""

    def __init__(self, refs: Sequence[str], *, reads: int, revocations: int) -> None:
        self.report = LateReport()
        self._refs = refs
        self._reads = reads
        self._revocations = revocations
        self._generations: Counter[str] = Counter()
        self._asked = 0
        self._next = asyncio.Event()  # another read has begun

    async def run(self, url: str, key: str, dsn: str) -> LateReport:
        """Let them race, and return what was seen."""
        unix = aiohttp.UnixConnector(url.removeprefix("unix:")) if url.startswith("unix:") else None
        headers = {"Authorization": f"Bearer {key}"}
        async with (
            aiohttp.ClientSession(url if unix is None else "http://localhost", connector=unix, headers=headers) as web,
            await psycopg.AsyncConnection.connect(dsn, autocommit=True) as database,
        ):
            await asyncio.gather(self._change(database), *(self._read(web) for _ in range(ASKERS)))
        return self.report

    @property
    def _turn(self) -> int:
        """Whose turn it is to be revoked."""
        return min(self._asked * self._revocations // self._reads, self._revocations)

    async def _read(self, web: aiohttp.ClientSession) -> None:
        while self._asked < self._reads:
            self._asked += 1
            self._next.set()
            near = max(0, self._turn + random.randint(-NEAR, NEAR)) if random.random() < 0.5 else None
            ref = random.choice(self._refs) if near is None else self._refs[near % len(self._refs)]
            gone, least = ref in self.report.revoked, self._generations[ref] + 1
            async with web.get(f"/v1/grants/{ref}/token", params={"wait": "0"}) as answer:
                members = await answer.json()
            self._note(ref, answer.status, members, gone=gone, least=least)

    def _note(self, ref: str, status: int, members: dict[str, object], *, gone: bool, least: int) -> None:
        self.report.answers[status] += 1
        if status != 200:
            return
        if gone:
            self.report.late.append(ref)
        if int(str(members["generation"])) < least:
            self.report.stale.append(ref)
        if members["ref"] != ref or members["access_token"] != f"at-{ref}-1":
            self.report.mixed.append(ref)

    async def _change(self, database: "psycopg.AsyncConnection[tuple[object, ...]]") -> None:
        """Revoke the next as its turn comes, and renew one that is to live; each is noted once it is committed."""
        for number in range(self._revocations):
            while self._turn < number:
                self._next.clear()
                await self._next.wait()
            ref, other = self._refs[number], self._refs[(number + NEAR) % len(self._refs)]
            await database.execute(REVOKE, [ref])
            self.report.revoked.add(ref)
            await database.execute(RENEW, [other])
            self._generations[other] += 1


@click.command()
@click.option("--reads", default=100_000, show_default=True)
@click.option("--revocations", default=1000, show_default=True)
def main(*, reads: int, revocations: int) -> None:
    """Let reads race revocations, against an `evergrant web` of its own."""
    folder = Path(tempfile.mkdtemp(prefix="evergrant-late-reads-"))
    click.echo(f"logs: {folder}")
    with ExitStack() as running:
        engines = running.enter_context(Engines(folder / "engines"))
        provider = running.enter_context(simulated("on_use", lifetime=3600))
        settings = {
            "database_url": engines.database_url or "",
            "broker_url": engines.broker_url or "",
            "token_bind": str(folder / "tokens.sock"),
            "ops_bind": str(folder / "ops.sock"),
            "token_requests_per_second": "1000000",
        }
        installation = Installation.made(folder / "installation", **settings)
        running.callback(installation.close)
        installation.register("app", [*provider.registration(), "--revocation-limit", "1000000"], provider.secret)
        refs = [f"app-{n}" for n in range(1, revocations + 201)]
        ends = (datetime.now(UTC) + timedelta(hours=10)).isoformat()
        rows = [
            {"ref": ref, "refresh_token": f"rt-{ref}", "access_token": f"at-{ref}-1", "expires_at": ends}
            for ref in refs
        ]
        installation.import_grants("app", rows)
        installation.command("apps", "add", "race", "--key-file", str(folder / "key"))
        installation.run("web", [str(installation.programs / "python"), "-m", "worker.cli", "web"])
        eventually((folder / "tokens.sock").exists, timeout=60)
        race = Race(refs, reads=reads, revocations=revocations)
        key = (folder / "key").read_text(encoding="utf-8").strip()
        report = asyncio.run(race.run(f"unix:{folder / 'tokens.sock'}", key, engines.database_url or ""))
    judged(report.told(), report.faults())


if __name__ == "__main__":
    main()
