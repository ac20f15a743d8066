"""Each attack beside 300 grants that live for 20 s: what becomes of these, and of who reads their tokens?

python -m tests.attacks.measure [--attack NAME] [--seconds 40]
"""

import asyncio
import json
import math
import multiprocessing
import random
import resource
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path

import click
import psycopg

from tests import brokers
from tests.acceptance.conftest import QUICK
from tests.acceptance.installation import Installation
from tests.acceptance.keeping import begin, due_now
from tests.acceptance.programs import Running
from tests.acceptance.providers import Simulated, simulated
from tests.attacks.locks import REFRESH, REVOCATION, hold, send
from tests.attacks.memory import MEGABYTE, Memory
from tests.attacks.test_broker import PRIORITY, QUEUES, hostile
from tests.attacks.test_large_answers import lines, silent_after
from tests.attacks.test_token_port import half_open
from tests.integration.web.asking import ask
from tests.polling import eventually
from tests.raw_servers import Bench, Peer
from worker.embedded.engines import Engines

GRANTS = 300
LIFETIME = 20.0
SHOP = 60  # grants of the client that is attacked, or attacks
LARGE = 100
HALF_OPEN = 3000
READS_EVERY = 0.02  # seconds
# How long living grants of the others have been without a token that may be handed out, and how many are.
SEEN = """
    select coalesce(greatest(0, max(extract(epoch from clock_timestamp() - g.access_expires_at))), 0)::float as stale,
        count(*) filter (where g.access_expires_at > clock_timestamp()) as fresh
    from evergrant.grants g join evergrant.clients c on c.id = g.client_id
    where c.name = 'app' and g.status = 'active'
"""


@dataclass
class House:
    """What is attacked, and as whom."""

    installation: Installation
    provider: Simulated
    shop: Simulated
    worker: Running
    web: Running
    token: str  # the address of the token port
    keys: dict[str, str]


@dataclass
class Seen:
    """What the others saw while an attack went on."""

    stale: float = 0.0  # seconds, at the worst
    fresh: int = GRANTS  # at the fewest
    reads: list[float] = field(default_factory=list)  # seconds, each
    answers: Counter[int] = field(default_factory=Counter)  # by status; 0: none came

    def percentile(self, part: float) -> float:
        """Milliseconds within which this part of the reads was answered."""
        ordered = sorted(self.reads) or [math.nan]
        return 1000 * ordered[min(int(part * len(ordered)), len(ordered) - 1)]


# Attacks: each begins, lets the others be watched, and ends


@contextmanager
def nothing(house: House) -> Iterator[None]:
    """Nobody attacks: what the machine itself costs."""
    del house
    yield


@contextmanager
def locks(house: House) -> Iterator[None]:
    """Five open transactions hold grants, and 240 messages ask for the end of these."""
    refs = [f"shop-{n}" for n in range(1, 6)]
    with ExitStack() as running:
        hold(house.installation, refs, running)
        send(house.installation, REVOCATION, refs, 240)
        yield


@contextmanager
def messages(house: House) -> Iterator[None]:
    """Some fifty hostile messages in each queue, twice, and 20 000 of rubbish in one."""
    with brokers.connect(house.installation.env["EVERGRANT_BROKER_URL"]) as valkey:
        for queue in QUEUES:
            for key in (f"evergrant:{queue}", f"evergrant:{queue}{PRIORITY}"):
                for raw in hostile():
                    valkey.lpush(key, raw)
        pipeline = valkey.pipeline(transaction=False)
        for _ in range(20_000):
            pipeline.lpush("evergrant:refresh_urgent", b"rubbish")
        pipeline.execute()
    yield


@contextmanager
def half_requests(house: House) -> Iterator[None]:
    """3000 requests from 200 addresses, of which half a head comes."""
    doors = []
    try:
        for number in range(HALF_OPEN):
            with suppress(OSError):
                doors.append(half_open(house.token, number))
        yield
    finally:
        for door in doors:
            door.close()


@contextmanager
def large_answers(house: House) -> Iterator[None]:
    """Another client's provider answers a hundred requests with heads beyond every limit, and then is silent."""
    bench = Bench()
    server = bench.serve(silent_after(lines(255, 32 * 1024)))
    large = house.provider.another("large")
    try:
        options = [*large.registration(), "--token-url", server.url(), "--burst", "1000"]
        house.installation.register("large", options, large.secret)
        house.installation.import_grants("large", due_now(large, LARGE))
        yield
        assert server.connections
        house.installation.command("clients", "pause", "large")
    finally:
        bench.close()


@contextmanager
def drips(house: House) -> Iterator[None]:
    """Another client's provider answers three hundred requests a byte at a time, until each deadline."""

    async def drip(peer: Peer) -> None:
        await peer.request()
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + bytes(1000):
            await peer.say(bytes([byte]))
            await asyncio.sleep(0.5)

    bench = Bench()
    server = bench.serve(drip)
    slow = house.provider.another("slow")
    try:
        options = [*slow.registration(), "--token-url", server.url(), "--burst", "1000"]
        house.installation.register("slow", options, slow.secret)
        house.installation.import_grants("slow", due_now(slow, GRANTS))
        yield
        assert server.connections
        house.installation.command("clients", "pause", "slow")
    finally:
        bench.close()


@contextmanager
def wishes(house: House) -> Iterator[None]:
    """A sender asks by 50 000 messages for refreshes of its grants, and of some that nobody has."""
    send(house.installation, REFRESH, [f"shop-{n}" for n in range(1, SHOP + 20)], 50_000)
    yield


@contextmanager
def revocations(house: House) -> Iterator[None]:
    """An application ends all its grants, again and again, against the brake."""
    over = threading.Event()

    def end_all() -> None:
        while not over.is_set():
            for number in range(1, SHOP + 1):
                with suppress(OSError):
                    target = f"/v1/grants/shop-{number}/revocation"
                    asked(house.token, house.keys["shop"], "POST", target, {"reason": "stolen"})

    threads = [threading.Thread(target=end_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(60)
    (held,) = house.installation.rows("select count(*) as n from evergrant.held_revocations")
    assert held["n"], "nothing was held"


@contextmanager
def metrics(house: House) -> Iterator[None]:
    """3000 connections to the metrics of the worker, of which half a head comes."""
    (row,) = house.installation.rows("select metrics_port from evergrant.processes where kind = 'worker'")
    doors = []
    try:
        for number in range(HALF_OPEN):
            with suppress(OSError):
                doors.append(half_open(f"127.0.0.1:{row['metrics_port']}", number))
        yield
    finally:
        for door in doors:
            door.close()


@contextmanager
def waits(house: House) -> Iterator[None]:
    """An application waits for a minute for tokens that nobody has, as often as its key may, and leaves."""
    over = threading.Event()
    target = f"/v1/grants/shop-%d/token?wait=60&min_ttl={int(10 * LIFETIME)}"
    head = f"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {house.keys['shop']}\r\n\r\n"
    host, port = house.token.split(":")
    doors: list[socket.socket] = []

    def come_again() -> None:
        while not over.wait(0.005):
            with suppress(OSError):
                doors.append(socket.create_connection((host, int(port)), 5))
                doors[-1].sendall((head % (len(doors) % SHOP + 1)).encode())

    thread = threading.Thread(target=come_again)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(20)
        for door in doors:
            door.close()


@contextmanager
def lock_table(house: House) -> Iterator[None]:
    """One login holds every lock that there is room for in the server."""
    with psycopg.connect(house.installation.database_url, autocommit=True) as login:
        with suppress(psycopg.errors.OutOfMemory):
            login.execute("select count(pg_advisory_lock(n)) from generate_series(1, 10000000) n")
        yield


ATTACKS: dict[str, Callable[[House], AbstractContextManager[None]]] = {
    "nothing": nothing,
    "locks": locks,
    "messages": messages,
    "half-open": half_requests,
    "large-answers": large_answers,
    "revocations": revocations,
    "metrics": metrics,
    "waits": waits,
    "drips": drips,
    "wishes": wishes,
    "lock-table": lock_table,
}


# Watching


def asked(token: str, key: str, method: str, target: str, body: object = None) -> int:
    """Ask the token port with a key; returns the status."""
    raw = None if body is None else json.dumps(body).encode()
    return ask(f"http://{token}", method, target, headers={"Authorization": f"Bearer {key}"}, body=raw).status


def read(token: str, key: str, over: Event, told: Connection) -> None:
    """Read tokens all the while, each on a connection of its own."""
    reads: list[tuple[float, int]] = []
    while not over.wait(READS_EVERY):
        number, begun = random.randint(1, GRANTS), time.monotonic()
        try:
            status = asked(token, key, "GET", f"/v1/grants/app-{number}/token?wait=0&min_ttl=0")
        except OSError:
            status = 0
        reads.append((time.monotonic() - begun, status))
    told.send(reads)


@contextmanager
def read_by_another(house: House, seen: Seen) -> Iterator[None]:
    """Another application that reads: a process of its own, which does not wait for what attacks here."""
    spawning = multiprocessing.get_context("spawn")
    over, (here, there) = spawning.Event(), spawning.Pipe()
    reader = spawning.Process(target=read, args=(house.token, house.keys["billing"], over, there))
    reader.start()
    try:
        yield
    finally:
        over.set()
        if here.poll(60):
            reads = here.recv()
            seen.reads, seen.answers = [seconds for seconds, _ in reads], Counter(status for _, status in reads)
        reader.join(20)


def watch(installation: Installation, seen: Seen, seconds: float) -> None:
    """Look at the grants of the others four times a second."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(psycopg.OperationalError):
            (row,) = installation.rows(SEEN)
            seen.stale, seen.fresh = max(seen.stale, row["stale"]), min(seen.fresh, row["fresh"])
        time.sleep(0.25)


def held(process: Running) -> tuple[int, int]:
    """Megabytes of memory and descriptors of a process."""
    return Memory(process.pid).now() // MEGABYTE, len(list(Path(f"/proc/{process.pid}/fd").iterdir()))


def measured(house: House, name: str, seconds: float) -> str:
    """Play one attack; returns its line."""
    before, seen = (held(house.worker), held(house.web)), Seen()
    with read_by_another(house, seen):
        with ATTACKS[name](house):
            watch(house.installation, seen, seconds)
        watch(house.installation, seen, seconds / 2)  # what it leaves behind
    after = held(house.worker), held(house.web)
    told = (
        f"{who} {was[0]} -> {now[0]} MB, {was[1]} -> {now[1]} fds"
        for who, was, now in zip(("worker", "web"), before, after, strict=True)
    )
    return (
        f"{name}: {seen.fresh} of {GRANTS} fresh at the fewest, stale {seen.stale:.2f} s at the worst;"
        f" {len(seen.reads)} reads, p50 {seen.percentile(0.5):.1f} ms, p99 {seen.percentile(0.99):.1f} ms,"
        f" {dict(seen.answers)}; {'; '.join(told)}"
    )


@contextmanager
def built(folder: Path) -> Iterator[House]:
    """One installation with an application that reads, and one that attacks."""
    with ExitStack() as running:
        engines = running.enter_context(Engines(folder / "engines"))
        provider = running.enter_context(simulated("family", lifetime=LIFETIME))
        urls = {"database_url": engines.database_url or "", "broker_url": engines.broker_url or ""}
        with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
            token, ops = (f"127.0.0.1:{each.getsockname()[1]}" for each in (one, other))
        installation = Installation.made(folder / "installation", **urls, **QUICK, token_bind=token, ops_bind=ops)
        running.callback(installation.close)
        worker = begin(installation, provider, grants=GRANTS)
        shop = provider.another("shop")
        installation.register("shop", shop.registration(), shop.secret)
        installation.import_grants("shop", shop.mint(SHOP, "shop-"))
        installation.rows("update evergrant.clients set revocation_limit = 10 where name = 'shop'")
        keys = {}
        for name, client in (("billing", "app"), ("shop", "shop")):
            installation.command("apps", "add", name, "--client", client, "--key-file", str(folder / name))
            keys[name] = (folder / name).read_text(encoding="utf-8").strip()
        web = installation.run("web", [sys.executable, "-m", "worker.cli", "web"])
        eventually(lambda: web.said("web.listening"), timeout=60)
        yield House(installation, provider, shop, worker, web, token, keys)


@click.command()
@click.option("--attack", "name", type=click.Choice(list(ATTACKS)), help="This one alone; default: all, in turn.")
@click.option("--seconds", default=2 * LIFETIME, show_default=True, help="How long each goes on.")
def main(*, name: str | None, seconds: float) -> None:
    """Play attacks and print a line for each."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    folder = Path(tempfile.mkdtemp(prefix="evergrant-attacks-"))
    click.echo(f"logs: {folder}")
    with built(folder) as house:
        eventually(lambda: house.installation.fresh()["app"] == GRANTS, timeout=60)
        watch(house.installation, Seen(), LIFETIME)  # until each was renewed once
        for each in [name] if name else ATTACKS:
            click.echo(measured(house, each, seconds))
        wrong = house.provider.presented_twice() + len(
            set(house.provider.lost()) & {f"app-{n}" for n in range(1, GRANTS + 1)}
        )
    click.echo(f"lost or presented twice, of the others: {wrong}")


if __name__ == "__main__":
    main()
