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
from playwright.sync_api import Browser, Page, expect
from psycopg.conninfo import conninfo_to_dict

from tests.acceptance.programs import ROOT, Running, environment
from tests.acceptance.providers import ORG
from tests.acceptance.serving import Serving, as_login, login, serving
from tests.chromium import PATIENCE_MS, chromium, customer
from tests.integration.web.asking import Web
from tests.other_languages import node, node_program, psql
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
    public: str

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

    def start_apart(self, name: str, *argv: str, said: str, **env: str) -> None:
        """The same with nothing of the operator's: no ring, no database, no home."""
        mine = {"PYTHONPATH": str(ROOT / "client"), **env}
        program = Running(name, argv, env=mine, log=self.folder / f"{name}.log")
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
    public = f"127.0.0.1:{free_port()}"
    customers = {"public_bind": public, "public_url": f"http://{public}", "suspect_wait_seconds": "2"}
    with serving(shared_servers, folder, grants=6, **sockets, **rate, **customers) as found:
        installation = found.installation
        as_operator = installation.env["EVERGRANT_DATABASE_URL"]
        as_login(installation, "evergrant_web")
        web = installation.run("web", [sys.executable, "-m", "worker.cli", "web"])
        installation.env["EVERGRANT_DATABASE_URL"] = as_operator
        eventually(lambda: web.said("web.listening"), timeout=60)
        yield Beside(found, folder, f"http://{public}")


@pytest.fixture(scope="module")
def windows() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with chromium() as found:
        yield found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def sign_in(page: Page, name: str) -> None:
    page.get_by_label("Who are you?").fill(name)
    page.get_by_role("button", name="Sign in").click()


def connect(page: Page, user: str) -> None:
    """From the application to our page, to the provider, and back."""
    page.get_by_label("Organization").fill(ORG)
    page.get_by_role("button", name="Connect").click()
    expect(page.get_by_role("heading")).to_have_text(re.compile("^Connect Acme with The bundled"))
    page.get_by_role("button", name="Continue to").click()
    page.get_by_label("Your name").fill(user)
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_role("status")).to_have_text("Your account is connected.")
    expect(page.get_by_role("listitem")).to_have_text([f"Event {number} of {user}" for number in (1, 2, 3)])


def is_told(page: Page, sentence: str) -> bool:
    """Look again; an application may be unable to tell for a moment."""
    page.reload()
    return page.get_by_text(sentence).count() > 0


FLASK = (sys.executable, "-m", "flask", "--app", "examples/flask-bookings/bookings.py", "run", "--port")
NODE = (node_program(), "examples/node-customers/customers.mjs")


@pytest.mark.parametrize("name", ["flask", "node"])
def test_a_customer_connects_is_asked_for_again_and_leaves(beside: Beside, windows: Browser, name: str) -> None:
    port, user = free_port(), f"ada-{name}"
    here = f"http://127.0.0.1:{port}"
    installation, provider = beside.serving.installation, beside.serving.provider
    app = provider.another(f"{name}-bookings", f"{beside.public}/callback")
    more = ("--title", "Acme", "--return-to", f"{here}/came-back")
    installation.register(app.client_id, [*app.registration(), *more], app.secret)
    argv = (*FLASK, str(port)) if name == "flask" else NODE
    about = {"BOOKINGS_CLIENT": app.client_id, "BOOKINGS_URL": app.url + app.api, "PORT": str(port)}
    beside.start_apart(name, *argv, said=str(port), **about, **beside.key(name))

    ada, mallory = customer(windows).new_page(), customer(windows).new_page()
    for page, who in ((ada, user), (mallory, "mallory")):
        page.goto(here)
        sign_in(page, who)
    expect(ada.get_by_text("Connect your account to see your bookings.")).to_be_visible()
    connect(ada, user)

    # What an address says of somebody else is told to nobody.
    mallory.goto(f"{here}/came-back?evergrant=connected&ref=customer-{user}")
    expect(mallory.get_by_text("Connect your account to see your bookings.")).to_be_visible()
    expect(mallory.get_by_role("status")).to_have_count(0)

    beside.serving.ready_for_requests()
    provider.end_by_user([user])
    eventually(lambda: is_told(ada, "Your integration needs you"), timeout=90, every=0.5)
    connect(ada, user)

    ada.get_by_role("button", name="Disconnect").click()
    expect(ada.get_by_role("status")).to_have_text("Your account is disconnected.")
    expect(ada.get_by_text("Connect your account to see your bookings.")).to_be_visible()
    eventually(lambda: beside.serving.revocations().get(f"customer-{user}") == "done", timeout=60)
    assert provider.alive(user) == 0
    for page in (ada, mallory):
        page.context.close()


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
