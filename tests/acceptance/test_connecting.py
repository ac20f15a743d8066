"""A customer connects in a browser beside a real `up` whose parts are killed, and nothing secret is told of it."""

import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from simulator.control import SimulatorControl
from simulator.launch import simulator_process
from tests.acceptance.one_machine import OneMachine
from tests.integration.public.browser import Browser
from tests.integration.web.asking import Answer
from tests.integration.web.page import Page
from tests.polling import eventually


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def connecting(
    folder: Path, *, log_level: str = "INFO", **more: Any
) -> Iterator[tuple[OneMachine, SimulatorControl, Browser]]:
    """An `up` with a public listener, a provider that says yes, and a customer's browser."""
    url = f"http://127.0.0.1:{free_port()}"
    with simulator_process() as provider:
        provider.create_client("shop-1", "hush-hush-secret", redirect_uri=f"{url}/callback")
        provider.decide_automatically("allow", user="user-1")
        bind: dict[str, Any] = {
            "public_bind": url.removeprefix("http://"),
            "public_url": url,
            "ops_bind": f"127.0.0.1:{free_port()}",
        }
        machine = OneMachine.up(folder, **bind, **more, log_level=log_level)
        try:
            paths = {"authorize": "authorize", "token": "token", "revoke": "revoke", "confirm": "token/info"}
            urls = [f"--{name}-url={provider.url}/oauth/{path}" for name, path in paths.items()]
            said = ["--provider", "simulator", "--client-id", "shop-1", "--title", "Acme", "--colour", "#036"]
            said += ["--return-to", "https://acme.example/a", "--return-to", "https://acme.example/b"]
            machine.register("shop", [*said, *urls, f"--api-url={provider.url}/v2/bookings"], "hush-hush-secret")
            yield machine, provider, Browser(url, base=url)
        finally:
            machine.close()


def link(machine: OneMachine, ref: str, *options: str) -> str:
    return machine.command("grants", "connect-link", ref, *options).strip()


def words(answer: Answer) -> str:
    return Page(answer).words


def comes_to(browser: Browser, said: str, *, timeout: float = 60) -> Answer:
    """Look at the page again and again, as it does by itself, until it says so."""

    def look() -> Answer | None:
        try:
            answer = browser.open(browser.url)
        except OSError:  # the process was killed; its successor answers
            return None
        return answer if said in words(answer) else None

    return eventually(look, timeout=timeout)  # type: ignore[return-value]


def test_a_customer_connects_comes_back_and_is_told_the_truth_while_processes_die(tmp_path: Path) -> None:
    with connecting(tmp_path / "machine") as (machine, provider, browser):
        browser.connect(link(machine, "customer-1", "--label", "org=8f2"))
        comes_to(browser, "Acme is connected")
        assert machine.handed_out().keys() == {"customer-1"}

        # Back at the application, which is told how it ended.
        browser.connect(machine.command("grants", "reconnect-link", "customer-1").strip())
        comes_to(browser, "Acme is connected")
        answer = browser.connect(link(machine, "customer-2", "--return-to", "https://acme.example/b/c"))
        assert answer.headers["location"] == "https://acme.example/b/c?evergrant=connected&ref=customer-2"

        # Killed while the provider acts: its answer is nobody's, and the customer is told what to do. First the consent
        # that was replaced must have ended, for what that asks would meet the fault.
        eventually(
            lambda: machine.rows("select 1 as n from evergrant.revocations where done_at is not null"), timeout=60
        )
        provider.add_fault("delay", where="token", when="after", delay_seconds=4, count=1)
        shared = link(machine, "customer-3")
        sent = browser.press(browser.open(shared), follow=False)
        callback = browser.open(sent.headers["location"], follow=False).headers["location"]
        arrived = len(provider.requests(endpoint="token"))
        browser.open(callback, follow=False)
        under_way = "select 1 as n from evergrant.connect_requests where ref = 'customer-3' and used_at is not null"
        eventually(lambda: machine.rows(under_way))
        machine.kill_part("worker-1")
        browser.url = callback
        comes_to(browser, "You lose nothing by connecting once more")
        assert arrived <= len(provider.requests(endpoint="token")) <= arrived + 1  # never a second time

        # A database and a web process that are gone for a while lose no customer on the way.
        sent = browser.press(browser.open(link(machine, "customer-3")), follow=False)
        callback = browser.open(sent.headers["location"], follow=False).headers["location"]
        machine.stop_database_at_once()
        machine.kill_part("web", signal.SIGKILL)
        browser.url = callback
        comes_to(browser, "Acme is connected")
        eventually(lambda: machine.statuses("shop").get("active") == 3)
        states = {each["ref"]: each["state"] for each in reversed(machine.listed("tickets", "list"))}
        assert states == {"customer-1": "connected", "customer-2": "connected", "customer-3": "connected"}

        # And a link that an operator takes back leads nowhere.
        shared = link(machine, "customer-4")
        (waits,) = machine.listed("tickets", "list", "--ref", "customer-4")
        machine.command("tickets", "revoke", waits["id"])
        assert "taken back" in words(browser.open(shared))


def test_no_log_and_no_process_tells_a_secret_of_a_customers_way(tmp_path: Path) -> None:
    with connecting(tmp_path / "machine", log_level="DEBUG") as (machine, provider, browser):
        secrets = ["hush-hush-secret"]
        for ref, fault in (("a", None), ("b", "html"), ("c", None)):
            provider.clear_faults()
            if fault:
                provider.add_fault(fault, where="token", count=1)
            shared = link(machine, ref)
            sent = browser.press(browser.open(shared), follow=False)
            asked = parse_qs(urlsplit(sent.headers["location"]).query)
            callback = browser.open(sent.headers["location"], follow=False).headers["location"]
            came = parse_qs(urlsplit(callback).query)
            secrets += [shared.rpartition("/")[2], asked["state"][0], asked["code_challenge"][0], came["code"][0]]
            Browser(browser.public, base=browser.base).open(callback)  # a stranger's
            browser.open(callback.replace("code=", "cod="))
            browser.open(callback)
        secrets += [*browser.cookies.values(), *machine.handed_out().values(), *machine.refresh_tokens().values()]
        assert len(machine.handed_out()) == 2

        ours = machine.home.path.rglob("*.keys")
        secrets += [line.partition(":")[2] for file in ours for line in file.read_text().split()]
        told = "".join(each.log.read_text(errors="replace") for each in machine.processes)
        told += machine.command("tickets", "list", "--json") + machine.command("events", "--json")
        told += "".join(str(row) for row in machine.rows("select * from evergrant.tickets"))
        told += "".join(str(row) for row in machine.rows("select * from evergrant.connect_requests"))
        assert re.search(r"public\.begun", told)
        assert [each for each in secrets if each in told] == []
