"""What `evergrant doctor` looks at: the database, the processes, this machine, the broker; one finding a line."""

import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from worker.cli import output, patience, session
from worker.cli.units import length

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

    from settings import Settings

Look = Callable[["Settings"], Iterator["Finding"]]
LEAST_FREE: Final = 1024**3  # bytes where a journal or the home lies
CLOCK_OFF: Final = timedelta(seconds=2)  # leases count on the database's clock, TLS and `expires_at` on the machine's
OVER_FOR: Final = timedelta(minutes=10)
OLDEST_BROKER: Final = (6, 2)
BROKER_SECONDS: Final = 5
OF_THE_DATABASE: Final = {"database", "fleet", "process", "clock", "ring", "rate", "pause", "link"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One condition, and what to do about it."""

    check: str
    finding: str
    next: str
    silent: bool = False  # the database has not answered: whoever needs it would wait as long


def findings() -> Iterator[Finding]:
    """Everything that is found, what stops all before what bites later; one look that fails is a finding itself."""
    settings = session.prepared()
    looks: tuple[tuple[str, Look], ...] = (
        ("disk", _of_a_full_disk),  # first: where it is full, all else fails in its own words
        ("database", _of_database),
        ("fleet", _of_fleet),
        ("process", _of_processes),
        ("clock", _of_clock),
        ("ring", _of_lost_rings),
        ("variable", _of_variables),
        ("file", _of_files),
        ("disk", _of_disk),
        ("broker", _of_broker),
        ("rate", _of_rates),
        ("pause", _of_pauses),
        ("link", _of_links),
    )
    told: set[str] = set()
    silent = False
    for name, look in looks:
        if silent and name in OF_THE_DATABASE:
            continue
        for each in _looked(name, look, settings):
            if each.finding not in told:
                told.add(each.finding)
                yield each
            silent = silent or each.silent


def _looked(name: str, look: Look, settings: "Settings") -> Iterator[Finding]:
    """What a look finds; one that cannot be made says why, unless without it nothing can be looked at at all."""
    from sqlalchemy.exc import OperationalError

    from worker.cli.translations import translate

    try:
        yield from patience.patiently(lambda: list(look(settings)))
    except OperationalError:
        raise
    except Exception as error:  # noqa: BLE001  # the others go on
        failure = translate(error)
        silent = failure.code == patience.SILENT
        what = failure.message if silent else f"cannot be looked at: {failure.message}"
        yield Finding(name, what, failure.next_step, silent)


def _of_a_full_disk(settings: "Settings") -> Iterator[Finding]:
    from tasks.runtime import disk

    found = disk.full(settings.home)
    if found is not None:
        yield Finding("disk", str(found), found.step)


def _of_database(settings: "Settings") -> Iterator[Finding]:
    from models import database
    from worker.cli.db.check import findings_of

    with database.transaction() as connection:
        for each in findings_of(connection, settings.environment or "embedded"):
            if each["check"] != "environment":  # misspelt variables have a look of their own
                yield Finding(each["check"], each["finding"], each["next"])


def _of_fleet(settings: "Settings") -> Iterator[Finding]:
    from worker.cli.status import snapshot

    del settings
    found = snapshot()
    for each in found["attention"]:
        if each["what"] != found["full_disk"]:  # told first, with the room that there was a moment ago
            yield Finding("fleet", each["what"], each["next"])


def _of_processes(settings: "Settings") -> Iterator[Finding]:
    from worker.cli.attention import of_a_journals_disk

    del settings
    for each in _processes():
        name = f"{each['kind']} {each['pid']} on {each['host']}"
        if each["refresh_key_ids"] is None:
            yield Finding(
                "release", f"{name} is of an older release: it says nothing of its keys", "upgrade it as well"
            )
        for variable in each["ignored_variables"] or ():
            yield Finding(
                "variable", f"{name} ignores {variable}, which is no setting", "correct its name, or unset it"
            )
        if each["disk_free"] is not None and each["disk_free"] < LEAST_FREE:
            yield Finding("disk", *of_a_journals_disk(each))
        behind = timedelta(seconds=each["clock_behind_seconds"] or 0)
        if abs(behind) > CLOCK_OFF:
            yield _off(f"the clock of {name}", behind)


def _processes() -> list[Mapping[str, Any]]:
    from models.views import fleet

    with session.reading() as connection:
        return [dict(row) for row in fleet.processes(connection) if row["alive"]]


def _of_clock(settings: "Settings") -> Iterator[Finding]:
    from models.views import fleet

    del settings
    with session.reading() as connection:
        before = datetime.now(UTC)
        at = fleet.clock(connection)["at"]
        after = datetime.now(UTC)
    behind = at - (before + (after - before) / 2)
    if abs(behind) > CLOCK_OFF:
        yield _off("the clock of this machine", behind)


def _off(whose: str, behind: timedelta) -> Finding:
    way = "behind" if behind > timedelta(0) else "ahead of"
    told = f"{whose} is {length(abs(behind).total_seconds())} {way} PostgreSQL's"
    return Finding("clock", told, "let NTP set both")


def _of_lost_rings(settings: "Settings") -> Iterator[Finding]:
    """A ring of the `up` that runs in this home, gone from there: who runs has it in memory, and nobody comes back."""
    from models.sealing import key_use
    from worker.embedded import state
    from worker.embedded.errors import RingLost
    from worker.embedded.home import Home
    from worker.embedded.refusal import refuse_lost_rings

    home = Home(settings.home.expanduser().absolute())
    running, url = state.read(home), settings.database_url
    if running is None or url is None or running.database_url != url.get_secret_value():
        return
    with session.reading() as connection:
        sealed = key_use.counts(connection)
    try:
        refuse_lost_rings(sealed, home, settings)
    except RingLost as error:
        yield Finding("ring", error.message, error.next)


def _of_variables(settings: "Settings") -> Iterator[Finding]:
    from settings import unknown_variables

    del settings
    for name, meant in unknown_variables().items():
        yield Finding(
            "variable", f"{name} is no setting and is ignored", f"set {meant} instead" if meant else "unset it"
        )


def _of_files(settings: "Settings") -> Iterator[Finding]:
    """Who may read or write what we rely on; a file that is not there is nobody's."""
    from settings import open_to_others

    home, folder = settings.home.expanduser(), settings.provider_folder
    secret = [settings.refresh_token_keys_file, settings.access_token_keys_file, settings.ops_password_file]
    watched = [(each, True) for each in secret if each is not None]
    watched += [(each, False) for each in (folder, *sorted(folder.glob("*.toml")))] if folder.exists() else []
    for path, holds_secret in watched:
        fault = open_to_others(path, holds_secret=holds_secret) if path.exists() else None
        if fault is not None:
            told, _, remedy = fault.partition("; ")
            yield Finding("file", told, remedy or f"chown it: {path}")
    if home.exists() and home.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield Finding("file", f"{home} is open to other users: journals and keys lie there", f"chmod 700 {home}")


def _of_disk(settings: "Settings") -> Iterator[Finding]:
    from tasks.runtime import disk
    from tasks.runtime.mount import mount_of

    home = settings.home.expanduser()
    if not home.exists():
        return
    folders = [each for each in (home, home / "journals") if each.exists()]
    for mount, folder in {mount_of(each): each for each in folders}.items():
        free = shutil.disk_usage(folder).free
        if disk.LEAST_ROOM <= free < LEAST_FREE:
            told = f"{disk.mib(free)} are left for {folder}, on the file system of {mount}"
            yield Finding("disk", told, f"make room on {mount}: while a journal cannot be written nothing is sent")
    if not os.access(home, os.W_OK):
        yield Finding("disk", f"{home} cannot be written by this user", "run commands as the user of the service")


def _of_broker(settings: "Settings") -> Iterator[Finding]:
    from redis import Redis
    from redis.exceptions import RedisError

    from worker.broker_fault import fault, try_to_write

    if settings.broker_url is None:
        return
    url = settings.broker_url.get_secret_value()
    if urlsplit(url).scheme == "redis+socket":
        url = url.replace("redis+socket://", "unix://", 1).partition("?")[0]
    client = Redis.from_url(url, socket_timeout=BROKER_SECONDS, socket_connect_timeout=BROKER_SECONDS)
    try:
        server, memory = client.info("server"), client.info("memory")
        try_to_write(client)
    except RedisError as error:
        told = fault(settings, error)
        yield Finding("broker", f"{told} ({type(error).__name__})", _broker_step(told))
        return
    finally:
        client.close()
    yield from _unfit_broker(server, memory)


def _broker_step(fault: str) -> str:
    from tasks.policy.explanation.faults import mended

    remedy, command = mended(fault)
    return remedy if command == "evergrant doctor" else f"{remedy}: {command}"


def _unfit_broker(server: Mapping[str, Any], memory: Mapping[str, Any]) -> Iterator[Finding]:
    version = str(server.get("valkey_version") or server.get("redis_version") or "0")
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < OLDEST_BROKER:
        yield Finding("broker", f"it is of version {version}", "use Redis 6.2 or newer, or Valkey")
    policy = memory.get("maxmemory_policy", "noeviction")
    if memory.get("maxmemory") and policy != "noeviction":
        told = f"it throws away what it has no room for ({policy}): what is handed out comes late"
        yield Finding("broker", told, "set maxmemory-policy noeviction")


def _of_rates(settings: "Settings") -> Iterator[Finding]:
    from worker.cli.plan import looked_at

    del settings
    for each in looked_at():
        if not each["fits"]:
            yield Finding(
                "rate",
                f"{each['client']}: {each['grants']} grants are too many for {each['rate']}",
                f"evergrant plan --client {each['client']}",
            )


def _of_pauses(settings: "Settings") -> Iterator[Finding]:
    from models.views import fleet, listing

    del settings
    with session.reading() as connection:
        at, clients = fleet.clock(connection)["at"], listing.clients(connection)
    for each in clients:
        until = each["paused_until"]
        if until is not None and not each["paused_by_operator"] and at - until > OVER_FOR:
            yield Finding(
                "pause",
                f"{each['name']} was shut ({each['pause_reason']}) until {output.iso(until)}, and nothing has opened it"
                " since: no grant of it has come due",
                f"evergrant grants refresh REF --client {each['name']}",
            )


def _of_links(settings: "Settings") -> Iterator[Finding]:
    """What would meet a customer who opens a link, and nobody before."""
    from models import public_listener, ticket

    with session.reading() as connection:
        known, asked = public_listener.known(connection), ticket.clients_asked_for(connection)
    here = settings.public_url
    if known.is_served and here is not None and known.url != here:
        yield Finding(
            "link",
            f"EVERGRANT_PUBLIC_URL is {here} here, where links lead that are made here, and a web serves {known.url}",
            "set it as that web has it, or unset it here",
        )
    for each in asked:
        if (fault := _unfit_for_customers(each, settings)) is not None:
            name = each["name"]
            yield Finding("link", f"customers who open a link of {name} can be sent nowhere: {fault[0]}", fault[1])


def _unfit_for_customers(client: "RowMapping", settings: "Settings") -> tuple[str, str] | None:
    """Why nobody can be led to a client's provider, and what to do."""
    from tasks.oauth.errors import OAuthError
    from tasks.runtime.registration import resolve

    name = client["name"]
    try:
        provider = resolve(client["provider"], dict(client["overrides"]), settings)
    except OAuthError as error:
        return str(error).rstrip("."), f"mend its provider file: evergrant providers show {client['provider']}"
    if provider.authorize_url is None:
        return "it has no authorize_url", f"evergrant clients set {name} --authorize-url URL"
    return None
