"""A siege: an installation of canaries, between a provider that repeats everything and applications that try all.

The tests lay one; again and again, each another, until the time is over:

    python -m tests.attacks.siege --minutes 60
"""

import contextlib
import json
import os
import random
import re
import runpy
import secrets
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, quote, urlsplit

from psycopg.conninfo import conninfo_to_dict

from tests.acceptance import commands
from tests.acceptance.installation import Installation
from tests.acceptance.programs import Running, environment
from tests.attacks.canaries import Canaries
from tests.attacks.hostile import GRAVE, KINDS, Hostile
from tests.integration.web.asking import Answer, ask
from tests.polling import eventually
from worker.embedded.engines import Engines

QUICK = {
    "backoff_first_seconds": "1",
    "backoff_cap_seconds": "3",
    "dispatch_lease_seconds": "5",
    "log_level": "DEBUG",
    "http_deadline_seconds": "3",
    "attempt_lease_seconds": "6",
    "suspect_wait_seconds": "1",
}
PROVIDER = """
authorize_url = "{url}/authorize"
token_url = "{url}/{{kind}}/token"
revoke_url = "{url}/{{kind}}/revoke"
introspect_url = "{url}/{{kind}}/introspect"
api_url = "{url}/{{kind}}/api"
auth = "{auth}"
rotation = "{rotation}"
remaining_header = "X-Left"
keep_from_answer = {{ tenant = "tenant", shard = "shard" }}
keep_from_redirect = {{ realm = "realm" }}
"""
ENDING = ("plain", "piece", "headers", "page")  # grants that are revoked, by a client whose valve is open
ROTATIONS = ("immediate", "on_use", "family", "none")
REDIRECT = "http://127.0.0.1:8765/callback"
# Every command that only reads; `grants token`, `grants export` and `clients public-key` hand out what they are
# asked for.
READING = [
    ["status"],
    ["grants", "list"],
    ["grants", "show", "plain"],
    ["grants", "show", "tokens"],
    ["grants", "history", "plain"],
    ["grants", "history", "tokens"],
    ["dead-letters", "list"],
    ["revocations", "list"],
    ["clients", "list"],
    ["clients", "show", "mild"],
    ["clients", "show", "grave"],
    ["apps", "list"],
    ["journals", "list"],
    ["keys", "list"],
    ["db", "check"],
    ["db", "current"],
    ["providers", "show", "hostile"],
    ["plan"],
]


class Siege:
    """What was planted, what runs, and what everybody was told."""

    def __init__(
        self, folder: Path, engines: Engines, installation: Installation, canaries: Canaries, *, seed: str | None
    ) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.rotation = "immediate" if seed is None else self.random.choice(ROTATIONS)
        self.life = timedelta(seconds=60 if seed is None else self.random.uniform(5, 90))
        self.engines = engines
        self.installation = installation
        self.canaries = canaries
        self.hostile = Hostile(canaries)
        self.said: dict[str, bytes] = {}  # what each command printed, by its words
        self.answers: list[tuple[str, Answer]] = []
        self.command_lines: set[bytes] = set()
        self.environments: dict[str, set[bytes]] = {}
        self.pages: list[tuple[str, bytes]] = []
        self.watched: set[int] = set()
        self._done = threading.Event()

    @classmethod
    @contextmanager
    def of(cls, folder: Path, engines: Engines, *, seed: str | None = None) -> Iterator[Self]:
        """Plant everything, and run while the context is open; `seed`: how it differs from the siege of the tests."""
        canaries = Canaries()
        database_url, broker_url = _with_passwords(engines, canaries)
        temporary = folder / "tmp"
        temporary.mkdir()
        installation = Installation.prepared(
            folder / "installation", database_url=database_url, broker_url=broker_url, **QUICK
        )
        installation.env |= {"TMPDIR": str(temporary), "EVERGRANT_AUDIT_FILE": str(temporary / "audit.jsonl")}
        installation.env |= {"EVERGRANT_TOKEN_BIND": str(folder / "t"), "EVERGRANT_OPS_BIND": str(folder / "o")}
        for ring in ("refresh", "access"):
            line = (installation.folder / f"{ring}.keys").read_text(encoding="utf-8").strip()
            canaries.know(f"{ring} ring", max(re.split(r"[:\s=]+", line), key=len))
        made = cls(folder, engines, installation, canaries, seed=seed)
        watching = threading.Thread(target=made._watch, name="watching", daemon=True)
        watching.start()
        try:
            with made.hostile:
                yield made
        finally:
            made._done.set()
            watching.join(10)
            installation.close()

    # The run

    def lay(self) -> None:
        """Everything, one after the other, while worker and beat and web run."""
        self.run("db", "upgrade")
        self._register()
        for name in ("worker", "beat", "web"):
            self.start(name)
        self._connect()
        self._import_badly()
        self._misaddress()
        eventually(lambda: all(self.hostile.asked[f"{kind}/token"] for kind in (*KINDS, "tokens")), timeout=90)
        eventually(lambda: sum(self.hostile.asked[f"{kind}/token"] for kind in GRAVE) > 0, timeout=60)
        self._ask_over_http()
        for name in self.random.sample(("worker", "beat", "web"), 3):
            self.start(name, killed=True)
        asked = self.hostile.asked["tokens/token"]
        eventually(lambda: self.hostile.asked["tokens/token"] > asked, timeout=90)
        for kind in ENDING:
            self.run("grants", "revoke", f"ending-{kind}", "--yes", "--reason", "the siege")
        eventually(lambda: sum(self.hostile.asked[f"{kind}/revoke"] for kind in ENDING) > 1, timeout=120)
        self._look()

    def run(self, *words: str, stdin: str = "", env: dict[str, str] | None = None) -> str:
        """Carry out one command line; whatever it prints is kept."""
        env = environment(self.installation.env | (env or {}))
        done = commands.carried_out(words, cwd=self.installation.root, env=env, stdin=stdin, seconds=120)
        self.said[f"{' '.join(words)} #{len(self.said)}"] = (done.stdout + done.stderr).encode()
        return done.stdout

    def start(self, name: str, *, killed: bool = False) -> None:
        """Start a process; `killed`: the one before is killed first, in the middle of whatever it does."""
        before = [each for each in self.installation.processes if each.name.startswith(name)]
        if killed:
            before[-1].kill()
            (self.folder / "t").unlink(missing_ok=True)
        process: Running
        if name == "web":
            argv = [sys.executable, "-m", "worker.cli", "web"]
            process = self.installation.run(f"web-{len(before)}", argv)
            eventually(lambda: process.said("web.listening"), timeout=60)
        else:
            process = self.installation.worker() if name == "worker" else self.installation.beat()
        self.watched.add(process.pid)

    def _register(self) -> None:
        providers = self.folder / "installation" / "home" / "providers"
        providers.mkdir()
        for name, auth in (("hostile", "body"), ("basic", "basic")):
            text = PROVIDER.format(url=self.hostile.url, auth=auth, rotation=self.rotation)
            (providers / f"{name}.toml").write_text(text, encoding="utf-8")
        clients = (("mild", "hostile", (*KINDS, "tokens")), ("grave", "basic", GRAVE), ("ending", "hostile", ENDING))
        for name, provider, kinds in clients:
            secret = self.canaries.of("client secret")
            words = ("--provider", provider, "--client-id", "app", "--redirect-uri", REDIRECT)
            self.run("clients", "add", name, *words, "--client-secret-file", "-", stdin=secret)
            more = ("malformed", "truncated") if name == "grave" else ()
            life = timedelta(hours=2) if name == "ending" else self.life
            rows = [
                {
                    "ref": f"ending-{kind}" if name == "ending" else kind,
                    "refresh_token": self.canaries.of("refresh token"),
                    "access_token": self.canaries.of("access token"),
                    "expires_at": (datetime.now(UTC) + life).isoformat(),
                    "labels": {"kind": [kind]},
                }
                for kind in (*kinds, *more)
            ]
            self.run("grants", "import", "-", "--client", name, stdin="\n".join(map(json.dumps, rows)))
        for name, more_words in (("wide", ()), ("narrow", ("--may", "read", "--client", "mild"))):
            file = self.folder / f"{name}.key"
            self.run("apps", "add", name, *more_words, "--key-file", str(file))
            self.canaries.know("application key", file.read_text(encoding="utf-8").strip())

    def _connect(self) -> None:
        """Flows that end in every way; the authorize URL holds the state, so what prints it is not looked at."""
        for kind, extra in (
            ("plain", ""),
            ("tokens", "&realm={state}"),
            ("success", ""),
            ("tokens", ""),
            ("none", "&error={state}&error_description=you+said+{state}"),
            ("none", "&error=denied&error_description={secret}&iss={state}"),
        ):
            ref = f"connected-{len(self.said)}"
            url = self.run("grants", "authorize-url", ref, "--client", "mild", "--label", f"kind={kind}").strip()
            self.said.popitem()
            states = parse_qs(urlsplit(url).query).get("state", [""])
            state = self.canaries.know("state", states[0])
            code = self.canaries.of("code")
            answer = "" if "error" in extra else f"&code={code}"
            file = self.folder / "callback.txt"
            filled = extra.format(state=state, secret=state)
            file.write_text(f"{REDIRECT}?state={quote(state)}{answer}{filled}", encoding="utf-8")
            self.run("grants", "exchange", ref, "--client", "mild", "--callback-url-file", str(file))
            file.unlink()

    def _import_badly(self) -> None:
        token = self.canaries.of("refresh token")
        lines = [
            f'{{"ref": "bad", "refresh_token": "{token}"',
            json.dumps({"ref": "bad", "refresh_token": token, token: token}),
            json.dumps({"ref": "bad", "refresh_token": token + "\u20ac"}),
            json.dumps({"ref": "bad", "refresh_token": token, "expires_at": token, "labels": {"kind": [token + "/"]}}),
            json.dumps([token]),
            token,
        ]
        self.run("grants", "import", "-", "--client", "mild", stdin="\n".join(lines))
        self.run("grants", "import", "-", "--client", "mild", "--json", stdin="\n".join(lines))
        self.run("clients", "set-secret", "mild", "--private-key-file", "-", stdin=self.canaries.of("client secret"))

    def _misaddress(self) -> None:
        """Every URL with a password that leads nowhere, or is none."""
        password = quote(self.canaries.of("database password"))
        for url in ("postgresql://u:{}@127.0.0.1:1/x", "postgresql://u:{}@[nowhere/x", "mysql://u:{}@h/x", "u:{}@h"):
            self.run("status", env={"EVERGRANT_DATABASE_URL": url.format(password)})
        password = quote(self.canaries.of("broker password"))
        for url in ("redis://u:{}@127.0.0.1:1/0", "redis://u:{}@127.0.0.1:port/0", "amqp://u:{}@h/x", "redis://:{}@["):
            self.run("worker", "--check", env={"EVERGRANT_BROKER_URL": url.format(password)})
            self.run("db", "check", env={"EVERGRANT_BROKER_URL": url.format(password)})
        for ring in ("REFRESH", "ACCESS"):
            wrong = {f"EVERGRANT_{ring}_TOKEN_KEYS": self.canaries.of(f"{ring.lower()} ring")}
            self.run("status", env=wrong)

    def _ask_over_http(self) -> None:
        keys = [(self.folder / f"{name}.key").read_text(encoding="utf-8").strip() for name in ("wide", "narrow")]
        wrong = self.canaries.of("application key")
        for key in (*keys, wrong):
            for ref in ("plain", "tokens", "nobody", key):
                self._ask(key, "GET", f"/v1/grants/{quote(ref)}/token?wait=0&min_ttl=86400", but_tokens=True)
                for what in ("refresh", "rejected", "revocation"):
                    body = {"generation": 1} if what == "rejected" else {"idempotency_key": "k"}
                    if ref == "nobody":
                        self._ask(key, "POST", f"/v1/grants/{ref}/{what}", json.dumps(body).encode())
            self._ask(key, "GET", f"/{key}?key={key}")
            self._ask(key, "POST", "/v1/grants/plain/refresh", f'{{"{key}": '.encode())
        for authorization in (f"Basic {wrong}", f"Bearer {wrong} {wrong}", wrong):
            self._ask(wrong, "GET", "/v1/grants/plain/token", authorization=authorization)
        for path in ("/metrics", "/healthz", "/readyz", f"/{wrong}"):
            answer = ask(f"unix:{self.folder / 'o'}", "GET", path)
            self.pages.append((path, answer.body))

    def _ask(
        self,
        key: str,
        method: str,
        target: str,
        body: bytes | None = None,
        *,
        authorization: str | None = None,
        but_tokens: bool = False,
    ) -> None:
        headers = {"Authorization": authorization or f"Bearer {key}"}
        answer = ask(f"unix:{self.folder / 't'}", method, target, headers=headers, body=body)
        if but_tokens and answer.status == 200:  # it was asked for a token, and that is what it says
            said = {name: value for name, value in answer.json.items() if name != "access_token"}
            answer = Answer(answer.status, answer.headers, json.dumps(said).encode())
        # What the asker put into the path is its own word.
        told = json.dumps(answer.headers).encode() + answer.body.replace(key.encode(), b"")
        self.answers.append((f"{method} {target}", Answer(answer.status, answer.headers, told)))

    def _look(self) -> None:
        for words in READING:
            self.run(*words)
            self.run(*words, "--json")
        refs = json.loads(self.run("clients", "show", "mild", "--json"))
        assert refs["name"] == "mild"

    # The sinks

    def logs(self) -> Iterator[tuple[str, bytes]]:
        """What every process wrote at DEBUG."""
        for process in self.installation.processes:
            yield process.name, process.log.read_bytes()

    def broker(self) -> Iterator[tuple[str, bytes]]:
        """Every key with its contents, and the file that the broker appends to."""
        with self.engines.valkey.connect() as client:
            client.execute_command("AUTH", BROKER_USER, self.broker_password)
            for key in client.keys("*"):
                yield f"broker key {key!r}", bytes(key) + (client.dump(key) or b"")
        for file in (self.engines.home.valkey).rglob("*"):
            if file.is_file():
                yield str(file), file.read_bytes()

    def database(self) -> Iterator[tuple[str, bytes]]:
        """Every table as text."""
        tables = self.installation.rows("select tablename from pg_tables where schemaname = 'evergrant'")
        for table in (row["tablename"] for row in tables):
            rows = self.installation.rows(f"select t::text as line from evergrant.{table} t")  # noqa: S608
            yield f"table {table}", "\n".join(row["line"] for row in rows).encode()

    def files(self, *folders: Path) -> Iterator[tuple[str, bytes]]:
        """Every file below some folders."""
        for folder in folders:
            for file in folder.rglob("*"):
                if file.is_file() and not file.is_socket():
                    with suppress(OSError):
                        yield str(file), file.read_bytes()

    @property
    def broker_password(self) -> str:
        return urlsplit(self.installation.env["EVERGRANT_BROKER_URL"]).password or ""

    def _watch(self) -> None:
        """Read command lines and environments of all that descends from this test, again and again."""
        while not self._done.wait(0.2):
            for pid in _descendants(os.getpid()):
                with suppress(OSError):
                    line = Path(f"/proc/{pid}/cmdline").read_bytes()
                    self.command_lines.add(line)
                    if pid in self.watched:
                        found = self.environments.setdefault(line.decode(errors="replace"), set())
                        found.add(Path(f"/proc/{pid}/environ").read_bytes())


BROKER_USER = "siege"


def _with_passwords(engines: Engines, canaries: Canaries) -> tuple[str, str]:
    """The URLs of both engines, with a login and a password each."""
    password, name = canaries.of("database password"), f"siege_{secrets.token_hex(4)}"
    with engines.postgres.connect() as connection:
        connection.execute(f"create role {name} superuser login password '{password}'")
        connection.execute(f"create database {name} owner {name}")
    parts = conninfo_to_dict(engines.postgres.url_of(name))
    database_url = f"postgresql://{name}:{password}@/{name}?host={quote(str(parts['host']), safe='')}"
    database_url += f"&port={parts['port']}" if "port" in parts else ""
    password = canaries.of("broker password")
    with engines.valkey.connect() as client:
        client.execute_command("ACL", "SETUSER", BROKER_USER, "on", f">{password}", "~*", "&*", "+@all")
    return database_url, f"redis+socket://{BROKER_USER}:{password}@{engines.valkey.socket}?virtual_host=0"


def _descendants(pid: int) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for each in Path("/proc").iterdir():
        if each.name.isdecimal():
            with contextlib.suppress(OSError, IndexError):
                parent = int((each / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(each.name))
    waiting = [pid]
    while waiting:
        for child in children.get(waiting.pop(), []):
            yield child
            waiting.append(child)


def facts(siege: Siege) -> dict[str, Any]:
    """What a test shows where the siege was no siege."""
    return {"asked": dict(siege.hostile.asked), "kinds": sorted(siege.canaries.kinds)}


if __name__ == "__main__":
    runpy.run_module("tests.attacks.long_siege", run_name="__main__")  # it lays sieges, so it reads this file
