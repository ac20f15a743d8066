"""How the pages look and sound: small and dark windows, another language, and what a screen reader needs."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Route, expect

from tests.integration.public.chromium.conftest import GO_ON, PROVIDER, Street
from tests.integration.public.chromium.test_a_customers_way import allow, go_on
from worker.web.public.colours import OURS

Says = Callable[[Page, str], None]
# What a page that waits asks for by itself: held back, so that it stays while it is looked at.
LOOKS_AGAIN = "**/outcome/*"
LONG = "Bookings-and-Reservations-Management-of-the-Upper-Danube-Valley GmbH & Co. KG"
# Colours depend on the scheme alone, and where things stand on the width alone: each is there once.
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "small and dark": {"viewport": {"width": 320, "height": 640}, "color_scheme": "dark"},
    "high contrast": {"forced_colors": "active"},
}


def pages(street: Street, page: Page, **said: str) -> Iterator[str]:
    """One of each kind after the other: to press, to wait, of an end, of a link that has ended."""
    page.goto(street.link("a", **said))
    yield "invitation"
    held: list[Route] = []
    page.route(LOOKS_AGAIN, lambda route: route.continue_() if route.request.redirected_from else held.append(route))
    page.get_by_role("button").first.click()
    allow(page)
    expect(page.get_by_role("status")).to_be_visible()
    yield "working"
    street.worker.once()
    page.unroute(LOOKS_AGAIN)
    for each in held:
        each.continue_()
    expect(page.get_by_role("status")).to_have_count(0)
    yield "connected"
    ended = street.link("b", **said)
    street.scene.harness.run("update evergrant.tickets set expires_at = clock_timestamp() where ref = 'b'")
    page.goto(ended)
    yield "expired"
    page.goto(f"{street.base}/connect/nobodys")
    yield "unknown"


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_can_be_read_and_used_by_everybody(street: Street, look: str) -> None:
    """By axe-core's rules of WCAG 2.2, in each look; nothing is to be moved sideways in a window of 320 pixels."""
    page = street.somebody(**LOOKS[look]).new_page()
    street.scene.harness.run("update evergrant.clients set title = :said", said=LONG)
    for said in pages(street, page):
        found = Axe().run(page)
        assert found.violations_count == 0, (said, found.generate_report())
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, said


@pytest.mark.parametrize("colour", ["#ffffff", "#000000", "#ffe600", OURS])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_button_can_be_seen_in_whatever_colour_a_client_has(street: Street, colour: str, scheme: str) -> None:
    street.scene.harness.run("update evergrant.clients set colour = :colour", colour=colour)
    page = street.somebody(color_scheme=scheme).new_page()
    page.goto(street.link())
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    box = page.get_by_role("button", name=GO_ON).bounding_box()
    assert box is not None
    assert box["height"] >= 44  # WCAG 2.2, 2.5.5


def test_a_customer_who_reads_german_is_spoken_to_in_german(street: Street, says: Says) -> None:
    page = street.somebody(locale="de-AT").new_page()
    page.goto(street.link())
    says(page, f"Acme Shop mit {PROVIDER} verbinden")
    expect(page.locator("html")).to_have_attribute("lang", "de")
    page.get_by_role("button").click()
    page.get_by_role("button", name="Deny").click()
    says(page, "Nicht verbunden")


def test_a_dark_page_is_dark(street: Street) -> None:
    shades = {}
    for scheme in ("light", "dark"):
        page = street.somebody(color_scheme=scheme).new_page()
        page.goto(street.link(scheme))
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        shades[scheme] = sum(int(part) for part in colour[4:-1].split(","))
    assert shades["dark"] < 150
    assert shades["light"] > 600


def test_a_page_asks_nobody_but_this_listener_for_anything(street: Street, ada: Page) -> None:
    asked: list[str] = []
    ada.on("request", lambda request: asked.append(request.url))
    said: list[str] = []
    ada.on("console", lambda message: said.append(message.text))
    link = street.link()
    ada.goto(link)
    assert asked == [link]
    assert said == []
    assert urlsplit(link).netloc == urlsplit(street.base).netloc
    go_on(ada, link)
