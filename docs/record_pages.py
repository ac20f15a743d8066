"""Take the pictures of a customer's way: `PYTHONPATH=. python docs/record_pages.py docs/howto` (needs Chromium).

A real `evergrant up` with its public listener, the bundled provider, and a customer in a real Chromium.
"""  # noqa: INP001  # a script, no package

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, expect

from simulator.control import SimulatorControl
from tests.acceptance.one_machine import OneMachine
from tests.acceptance.test_connecting import connecting, link
from tests.chromium import chromium, customer

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
        machine.command("clients", "set", "shop", "--title", "Acme Bookings", "--colour", "#0a5c36")
        for name, (said, viewport, scheme) in looks.items():
            context = customer(browser, viewport=viewport, color_scheme=scheme)
            taken(context, machine, provider, said).screenshot(path=folder / name)
            context.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
