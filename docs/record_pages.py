"""Take the pictures of a customer's way: `PYTHONPATH=. python docs/record_pages.py docs/howto` (needs Chromium).

A real `evergrant up` with its public listener, the bundled provider under another name, and a customer in a real
Chromium.
"""  # noqa: INP001  # a script, no package

import re
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, expect

from simulator.control import SimulatorControl
from tests.acceptance.one_machine import OneMachine
from tests.acceptance.test_connecting import connecting, link
from tests.chromium import chromium, customer

ROOT = Path(__file__).parents[1]
WIDE, SMALL = {"width": 720, "height": 440}, {"width": 320, "height": 560}
FAULTS = {"working": ("delay", {"delay_seconds": 14}), "failed": ("html", {})}


def taken(context: BrowserContext, machine: OneMachine, provider: SimulatorControl, said: str) -> Page:
    """Lead a customer to the page that says so."""
    page = context.new_page()
    page.goto(link(machine, f"customer-{said}"))
    if said == "invitation":
        return page
    act, more = FAULTS[said]
    provider.add_fault(act, where="token", count=1, **more)
    page.get_by_role("button").click()
    heading = {"working": "Still working", "failed": "Probably not connected"}[said]
    expect(page.get_by_role("heading", level=1)).to_have_text(heading, timeout=60_000)
    return page


def rename(folder: Path) -> None:
    """Let the simulated provider be called as a real one might be, and have the time that the waiting page is for."""
    text = (ROOT / "tasks" / "oauth" / "providers" / "simulator.toml").read_text(encoding="utf-8")
    for name, value in (("title", '"Harbour Bookings"'), ("deadline_seconds", "30")):
        text = re.sub(rf"^{name} = (?!.documented).*$", f"{name} = {value}", text, count=1, flags=re.MULTILINE)
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "simulator.toml").write_text(text, encoding="utf-8")


def main(folder: Path) -> None:
    """Write them, one a page and a look."""
    looks = {
        "connect-page.png": ("invitation", WIDE, "light"),
        "connect-page-dark.png": ("invitation", WIDE, "dark"),
        "connect-page-small.png": ("invitation", SMALL, "light"),
        "connect-page-waits.png": ("working", WIDE, "light"),
        "connect-page-failed.png": ("failed", WIDE, "light"),
    }
    with (
        tempfile.TemporaryDirectory() as made,
        chromium() as browser,
        connecting(Path(made) / "machine") as (machine, provider, _),
    ):
        rename(machine.home.path / "providers")
        machine.command("clients", "set", "shop", "--title", "Acme Bookings", "--colour", "#0a5c36")
        for name, (said, viewport, scheme) in looks.items():
            context = customer(browser, viewport=viewport, color_scheme=scheme)
            taken(context, machine, provider, said).screenshot(path=folder / name, full_page=True)
            context.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
