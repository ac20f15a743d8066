"""What an attacker's page, link or window may try on a customer, in a real Chromium that keeps sites apart."""

from collections.abc import Callable
from html import escape
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import BrowserContext, Dialog, Page, Request, Route, expect

from tests.integration.public.chromium.conftest import APPLICATION, GO_ON, Street
from tests.integration.public.chromium.test_a_customers_way import INVITED, allow, go_on
from tests.integration.public.conftest import Exchanging
from tests.polling import eventually

Says = Callable[[Page, str], None]
EVIL = "https://evil.test/"


def lure(context: BrowserContext, body: str) -> Page:
    """A customer has an attacker's page open."""
    page = context.new_page()
    page.route(EVIL, lambda route: route.fulfill(content_type="text/html", body=f"<!doctype html>{body}"))
    page.goto(EVIL)
    return page


def caught(page: Page, link: str) -> str:
    """Allow at the provider, and catch where it sends the browser before that arrives: as from a log, or a shoulder."""
    found: list[str] = []

    def catch(route: Route) -> None:
        found.append(route.fetch(max_redirects=0).headers["location"])
        route.fulfill(content_type="text/html", body="<!doctype html><h1>Caught</h1>")

    go_on(page, link)
    page.route("**/oauth/authorize", catch)
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_role("heading")).to_have_text("Caught")
    page.unroute("**/oauth/authorize")
    return found[0]


@pytest.fixture
def mallory(street: Street) -> Page:
    """The attacker's own window."""
    return street.somebody().new_page()


def test_the_providers_page_that_an_attacker_began_connects_nobody_who_follows_it(
    street: Street, mallory: Page, ada: Page, says: Says
) -> None:
    """Fixation: else Ada's account would be connected as Mallory's ref."""
    go_on(mallory, street.link("mallory"))
    ada.goto(mallory.url)
    allow(ada)

    says(ada, "This page belongs to another browser")
    assert street.rows("select answered_at from evergrant.visits") == [(None,)]
    assert (street.worker.once(), street.refs()) == (0, [])


def test_an_attackers_own_consent_is_not_slipped_under_a_customer(
    street: Street, mallory: Page, ada: Page, says: Says
) -> None:
    """Login CSRF: else what Ada does from then on would be seen in Mallory's account."""
    go_on(ada, street.link("ada"))
    theirs = caught(mallory, street.link("mallory"))
    page = lure(ada.context, f'<img src="{escape(theirs)}"><a href="{escape(theirs)}">Win a prize</a>')
    page.get_by_role("link").click()

    says(page, "This page belongs to another browser")
    assert street.rows("select answered_at from evergrant.visits") == [(None,), (None,)]
    allow(ada)
    eventually(lambda: street.worker.once() == 1)
    assert street.refs() == ["ada"]


def test_a_stolen_callback_is_worth_nothing_to_its_thief_and_all_to_its_owner(
    street: Street, working: Exchanging, mallory: Page, ada: Page, says: Says
) -> None:
    link = street.link()
    callback = caught(ada, link)
    mallory.goto(link)
    says(mallory, "This link was used already")
    mallory.goto(callback)
    says(mallory, "This page belongs to another browser")

    ada.goto(callback)
    says(ada, "Connected")


def test_a_callback_that_is_opened_again_asks_nobody_again(
    street: Street, working: Exchanging, ada: Page, says: Says
) -> None:
    callback = caught(ada, street.link())
    for _ in range(3):
        ada.goto(callback)
        says(ada, "Connected")
    assert street.asked() == 1


def test_a_code_with_another_visits_state_is_not_stored_for_anybody(
    street: Street, mallory: Page, ada: Page, says: Says
) -> None:
    """A code of Mallory's in Ada's browser, with Ada's state: its proof key is not the one that it was asked with."""
    theirs = parse_qs(urlsplit(caught(mallory, street.link("mallory"))).query)
    go_on(ada, street.link("ada"))
    hers = parse_qs(urlsplit(ada.url).query)["state"][0]
    forged = f"{street.base}/callback?" + urlencode({"code": theirs["code"][0], "state": hers})
    lure(ada.context, "").evaluate("url => { window.open(url) }", forged)
    street.worker.once()

    ada.goto(forged)
    assert street.refs() == []
    ada.goto(f"{street.base}/callback?code=x&state=nobodys")
    says(ada, "This link leads nowhere")


@pytest.mark.parametrize("opened_before", [False, True])
def test_a_form_on_an_attackers_page_begins_nothing(street: Street, ada: Page, says: Says, opened_before: bool) -> None:
    """Mallory sends Ada's browser to the provider as Mallory's ref, without a press of hers."""
    link = street.link("mallory")
    if opened_before:
        ada.goto(link)
    page = lure(ada.context, f'<form method="post" action="{link}"><input name="form" value="x"></form>')
    page.evaluate("document.forms[0].submit()")

    says(page, "Your browser kept nothing")
    assert street.rows("select from evergrant.visits") == []


@pytest.mark.parametrize(
    "change",
    [
        lambda link: link + "?return_to=https://evil.test/&next=//evil.test&redirect_uri=https://evil.test/",
        lambda link: link + "/https://evil.test/",
        lambda link: link.replace("/connect/", "//evil.test/connect/"),
        lambda link: link.replace("/connect/", "/%2f%2fevil.test/connect/"),
        lambda link: link.replace("/connect/", "/\\evil.test/connect/"),
    ],
)
def test_no_address_of_ours_leads_where_its_maker_likes(
    street: Street, ada: Page, change: Callable[[str], str]
) -> None:
    asked: list[str] = []
    ada.on("request", lambda request: asked.append(request.url))
    ada.goto(change(street.link()))
    if ada.get_by_role("button", name=GO_ON).count():
        ada.get_by_role("button", name=GO_ON).click()
        ada.get_by_role("button", name="Deny").click()
        expect(ada.get_by_role("heading", level=1)).to_have_text("Not connected")
    assert not any((urlsplit(each).hostname or "").endswith("evil.test") for each in asked)


@pytest.mark.parametrize("where", ["iframe", "embed"])
def test_no_page_of_ours_is_shown_in_another_page(street: Street, ada: Page, where: str) -> None:
    """Clickjacking: the button cannot lie under one that an attacker shows."""
    page = lure(ada.context, "")
    script = "([tag, url]) => { const e = document.createElement(tag); e.src = url; document.body.append(e) }"
    page.evaluate(script, [where, street.link()])

    def framed() -> str:
        page.wait_for_timeout(50)
        return next((frame.url for frame in page.frames[1:] if frame.url not in ("", "about:blank")), "")

    assert eventually(framed) == "chrome-error://chromewebdata/"
    assert page.frames[1].get_by_role("button").count() == 0


@pytest.mark.parametrize(
    "said",
    [
        "<img src=x onerror=alert(1)>",
        "</title><script>alert(1)</script>",
        "{{ 7 * 7 }}",
        '" autofocus onfocus="alert(1)',
    ],
)
def test_what_a_client_or_a_provider_says_is_text_and_runs_nothing(
    street: Street, ada: Page, says: Says, said: str
) -> None:
    ran: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        ran.append(dialog.message)
        dialog.dismiss()

    ada.on("dialog", dismiss)
    street.scene.harness.run("update evergrant.clients set title = :said", said=said)
    go_on(ada, street.link())
    state = parse_qs(urlsplit(ada.url).query)["state"][0]
    told = {"error": said, "error_description": said, "error_uri": "javascript:alert(1)", "state": state}
    ada.goto(f"{street.base}/callback?{urlencode(told)}")

    says(ada, "Not connected")
    expect(ada.get_by_role("main")).to_contain_text(f"ask {said} for a new link")
    assert ada.locator("script, img").count() == 0
    assert ran == []


def test_no_page_tells_another_site_where_its_customer_was(
    street: Street, working: Exchanging, ada: Page, says: Says
) -> None:
    referrers: dict[str, str | None] = {}

    def note(request: Request) -> None:
        if request.is_navigation_request():
            referrers.setdefault(urlsplit(request.url).netloc, request.headers.get("referer"))

    ada.on("request", note)
    go_on(ada, street.link(return_to=APPLICATION))
    provider = urlsplit(ada.url).netloc
    allow(ada)
    says(ada, "evergrant=connected ref=customer-42")
    assert referrers[provider] is None
    assert referrers["shop.test"] is None


def test_a_window_that_an_attacker_opened_is_not_to_be_read_by_them(street: Street, ada: Page) -> None:
    page = lure(ada.context, "")
    with page.expect_popup() as opened:
        page.evaluate("url => { window.theirs = window.open(url) }", street.link())
    expect(opened.value.get_by_role("heading", level=1)).to_have_text(INVITED)
    found = page.evaluate("() => { try { return window.theirs.document.body.innerText } catch (e) { return e.name } }")
    assert found == "SecurityError"
    kept = page.evaluate(
        "url => fetch(url, {credentials: 'include'}).then(a => a.text(), e => e.name)", street.link("other")
    )
    assert kept == "TypeError"
