"""The programs under examples/ run, against one installation: as their pages tell, with nothing of ours imported."""

import json
import re
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from psycopg.conninfo import conninfo_to_dict

from tests.acceptance.programs import ROOT, Running, environment
from tests.acceptance.providers import ORG
from tests.acceptance.serving import Serving, as_login, login, serving
from tests.integration.web.asking import Web
from tests.other_languages import node, psql
from tests.polling import eventually
from worker.web.server import Addresses

EXAMPLES = ROOT / "examples"
# So that a key is soon told to ask less.
PER_SECOND = 4


@dataclass
class Beside:
    """An installation whose token interface is open, and programs beside it."""

    serving: Serving
    folder: Path

    def key(self, application: str) -> dict[str, str]:
        """What an application needs to ask for tokens, in its environment."""
        file = self.folder / f"{application}.key"
        if not file.exists():
            self.serving.installation.command("apps", "add", application, "--key-file", str(file))
        url = f"unix:{self.serving.installation.env['EVERGRANT_TOKEN_BIND']}"
        return {"EVERGRANT_TOKEN_URL": url, "EVERGRANT_APPLICATION_KEY_FILE": str(file)}

    def start(self, name: str, *argv: str, said: str, **env: str) -> None:
        """Start a program of an example, and wait until it says so."""
        program = Running(name, argv, env=self.env(**env), log=self.folder / f"{name}.log")
        self.serving.installation.processes.append(program)
        eventually(lambda: program.said(said), timeout=60)

    def env(self, **env: str) -> dict[str, str]:
        """The operator's environment, with the client package where an application has it installed."""
        return {**self.serving.installation.env, "PYTHONPATH": str(ROOT / "client"), **env}


@pytest.fixture(scope="module")
def beside(shared_servers: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beside]:
    folder = tmp_path_factory.mktemp("examples")
    sockets = {f"{name}_bind": str(folder / f"{name}.sock") for name in ("token", "ops")}
    rate = {"token_requests_per_second": str(PER_SECOND)}
    with serving(shared_servers, folder, grants=6, **sockets, **rate) as found:
        installation = found.installation
        as_operator = installation.env["EVERGRANT_DATABASE_URL"]
        as_login(installation, "evergrant_web")
        web = installation.run("web", [sys.executable, "-m", "worker.cli", "web"])
        installation.env["EVERGRANT_DATABASE_URL"] = as_operator
        eventually(lambda: web.said("web.listening"), timeout=60)
        yield Beside(found, folder)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


class Browser:
    """A customer's browser, at the Flask application."""

    def __init__(self, port: int) -> None:
        self.here = f"http://127.0.0.1:{port}"
        self.session = requests.Session()

    def get(self, path: str = "/") -> requests.Response:
        return self.session.get(self.here + path, timeout=60)

    def post(self, path: str, **form: str) -> requests.Response:
        return self.session.post(self.here + path, form, timeout=60, allow_redirects=False)

    def sign_in(self, name: str) -> None:
        assert self.post("/sign-in", name=name).status_code == 302

    def way_to_the_provider(self) -> str:
        sent = self.post("/connect", org=ORG)
        assert sent.status_code == 302, sent.text
        return sent.headers["Location"]

    def consent(self, url: str, user: str) -> requests.Response:
        """Allow, and come back."""
        return self.session.get(f"{url}&auto=allow&user={user}", timeout=60)


def test_a_customer_of_the_flask_application_connects_and_sees_bookings(beside: Beside) -> None:
    port = free_port()
    provider = beside.serving.provider.another("bookings", f"http://127.0.0.1:{port}/callback")
    beside.serving.installation.register("bookings", provider.registration(), provider.secret)
    beside.start(
        "flask",
        *(sys.executable, "-m", "flask", "--app", "examples/flask-bookings/bookings.py", "run", "--port", str(port)),
        said="Running on",
        BOOKINGS_CLIENT="bookings",
        BOOKINGS_URL=provider.url + provider.api,
        BOOKINGS_EVERGRANT=f"{sys.executable} -m worker.cli",
        **beside.key("flask"),
    )
    ada, mallory = Browser(port), Browser(port)
    assert "Who are you?" in ada.get().text
    assert ada.post("/connect", org=ORG).status_code == 401
    ada.sign_in("ada")
    mallory.sign_in("mallory")
    assert "Connect your account" in ada.get().text

    # A link that somebody else began stores no consent, whoever follows it.
    assert ada.consent(mallory.way_to_the_provider(), "ada").status_code == 400
    page = ada.consent(ada.way_to_the_provider(), "ada")
    assert (page.status_code, page.url) == (200, f"{ada.here}/")
    assert re.findall(r"<li>(.+)</li>", page.text) == [f"Event {number} of ada" for number in (1, 2, 3)]
    assert ada.get("/callback?state=&code=x").status_code == 400
    assert beside.serving.installation.statuses("bookings") == {"active": 1}

    beside.serving.installation.command("grants", "revoke", "customer-ada", "--client", "bookings", "--yes")
    # The token that it remembers opens the API until the provider has killed it.
    eventually(lambda: "must be connected again" in ada.get().text, timeout=60, every=0.5)


def test_the_celery_application_has_a_token_renewed_and_a_grant_revoked(beside: Beside) -> None:
    celery = str(Path(sys.executable).with_name("celery"))
    shop = (celery, "--workdir", str(EXAMPLES / "celery-enqueue"), "-A", "shop")
    env = {"SHOP_BROKER_URL": beside.serving.broker_url}
    beside.start("shop", *shop, "worker", "-c", "1", "-n", "shop@localhost", "--loglevel", "INFO", said="ready.", **env)
    for task, ref in (("prepare_report", "app-1"), ("close_account", "app-2"), ("close_account", "nobody")):
        call = [*shop, "call", f"shop.{task}", "--args", json.dumps([ref]), "--queue", "shop"]
        subprocess.run(call, env=environment(beside.env(**env)), cwd=ROOT, timeout=60, check=True, capture_output=True)
    eventually(lambda: beside.serving.refreshed("app-1") == 1, timeout=60)
    eventually(lambda: beside.serving.revocations().get("app-2") == "done", timeout=60)
    assert "nobody" not in beside.serving.revocations()


def test_a_customer_who_is_deleted_takes_the_grant_along_or_neither_goes(beside: Beside) -> None:
    installation, provider = beside.serving.installation, beside.serving.provider
    installation.import_grants("app", provider.mint(2))
    shop = login(installation)
    made = psql(installation.database_url, (EXAMPLES / "sql-trigger" / "customers.sql").read_text(encoding="utf-8"))
    assert made.returncode == 0, made.stderr
    name = conninfo_to_dict(shop)["user"]
    installation.rows(f"grant usage on schema shop to {name}; grant all on shop.customers to {name}")
    own = ("--application", f"shop_{secrets.token_hex(4)}", "--client", "app", "--may", "revoke", "--login", str(name))
    # Its commands are an operator's, who does not own the schema: the owner carries out what is printed.
    assert psql(installation.database_url, installation.command("db", "roles", *own)).returncode == 0

    def carry_out(script: str) -> str:
        done = psql(shop, script)
        return done.stdout + done.stderr

    carry_out("insert into shop.customers values (1, 'Ada'), (2, 'Grace'), (3, 'never connected')")
    assert (
        carry_out("begin; delete from shop.customers where id = 1; rollback; select count(*) from shop.customers")
        == "3\n"
    )
    assert "customer-1" not in beside.serving.revocations()
    assert "TRUNCATE would revoke no grant" in carry_out("truncate shop.customers")
    assert carry_out("delete from shop.customers where id in (2, 3); select id from shop.customers") == "1\n"
    eventually(lambda: beside.serving.revocations().get("customer-2") == "done", timeout=60)
    assert (provider.alive("customer-1"), provider.alive("customer-2")) == (1, 0)
    assert {"customer-1", "customer-3"}.isdisjoint(beside.serving.revocations())


def test_the_node_script_shows_bookings_and_ends_as_each_answer_demands(beside: Beside) -> None:
    installation, provider = beside.serving.installation, beside.serving.provider
    env = {"BOOKINGS_URL": provider.url + provider.api, **beside.key("node")}

    def run(ref: str, **more: str) -> tuple[int, str]:
        done = node(EXAMPLES / "node-http" / "bookings.mjs", ref, **{**env, **more})
        return done.returncode, done.stdout or done.stderr

    shown = "".join(f"Event {number} of app-3\n" for number in (1, 2, 3))
    assert run("app-3") == (0, shown)

    # A 401 is reported, and the successor is used.
    provider.control.add_fault("status", where="api", ref="app-3", status=401, count=1)
    assert run("app-3") == (0, shown)
    assert beside.serving.refreshed("app-3") == 1

    installation.rows("update evergrant.grants set status = 'needs_consent', reason = 'user_ended' where ref = 'app-4'")
    assert run("app-4") == (3, "connect the user again (user_ended)\n")
    installation.command("grants", "revoke", "app-5", "--yes")
    assert run("app-5")[0] == 3
    installation.command("grants", "pause", "app-6")
    installation.rows("update evergrant.grants set access_expires_at = clock_timestamp() where ref = 'app-6'")
    code, said = run("app-6")
    assert (code, said.split(":")[0]) == (75, "try again in 60 s")
    assert run("nobody")[0] == 1
    assert run("app-3", EVERGRANT_TOKEN_URL=f"unix:{beside.folder}/none")[0] == 75

    # Told that it asks too much, it waits for as long as it is told.
    key = Path(env["EVERGRANT_APPLICATION_KEY_FILE"]).read_text(encoding="utf-8").strip()
    web = Web(Addresses("", env["EVERGRANT_TOKEN_URL"]), key)
    eventually(lambda: web.get("app-3").status == 429, every=0)
    assert run("app-3") == (0, shown)
