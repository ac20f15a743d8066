"""Customers connect in a real Chromium: to every end, by every odd way that a window, a tab and a wait allow."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, expect

from tasks.settling import replay
from tests.chromium import without_cookies
from tests.integration.public.chromium.conftest import APPLICATION, GO_ON, PROVIDER, Street
from tests.integration.public.conftest import Exchanging
from tests.polling import eventually

Says = Callable[[Page, str], None]
INVITED = f"Connect Acme Shop with {PROVIDER}"


def go_on(page: Page, link: str) -> None:
    """Open a link and press its button: the provider asks."""
    page.goto(link)
    page.get_by_role("button", name=GO_ON).click()
    expect(page.get_by_role("button", name="Allow")).to_be_visible()


def allow(page: Page) -> None:
    page.get_by_role("button", name="Allow").click()


def test_a_customer_connects_and_comes_back_to_the_application(
    street: Street, working: Exchanging, ada: Page, says: Says
) -> None:
    go_on(ada, street.link())
    allow(ada)
    says(ada, "Connected")
    expect(ada).to_have_title("Connected · Acme Shop")

    go_on(ada, street.link("customer-7", return_to=APPLICATION + "?tab=2"))
    allow(ada)
    says(ada, "evergrant=connected ref=customer-7 tab=2")
    assert street.refs() == ["customer-42", "customer-7"]
    assert street.asked() == 2


def test_whoever_says_no_is_told_so_or_brought_back(street: Street, ada: Page, says: Says) -> None:
    go_on(ada, street.link())
    ada.get_by_role("button", name="Deny").click()
    says(ada, "Not connected")

    go_on(ada, street.link(return_to=APPLICATION))
    ada.get_by_role("button", name="Deny").click()
    says(ada, "evergrant=denied ref=customer-42")
    assert street.asked() == 0


def test_keys_alone_lead_a_customer_through_and_no_script_is_needed(
    street: Street, working: Exchanging, says: Says
) -> None:
    page = street.somebody(java_script_enabled=False).new_page()
    page.goto(street.link())
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name=GO_ON)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Allow")).to_be_visible()
    allow(page)
    says(page, "Connected")


def test_the_back_button_leads_to_a_page_that_can_be_pressed_again(
    street: Street, working: Exchanging, ada: Page, says: Says
) -> None:
    go_on(ada, street.link())
    ada.go_back()
    says(ada, INVITED)
    ada.get_by_role("button", name=GO_ON).click()
    allow(ada)
    says(ada, "Connected")

    ada.go_back()  # to the provider, who gives one more code
    allow(ada)
    says(ada, "Connected")
    ada.go_back()
    ada.go_back()
    ada.reload()
    says(ada, "Connected")
    assert (street.refs(), street.asked()) == (["customer-42"], 1)


def test_of_two_tabs_the_one_counts_that_went_on_last(
    street: Street, working: Exchanging, ada: Page, says: Says
) -> None:
    link, second = street.link(), ada.context.new_page()
    go_on(ada, link)
    go_on(second, link)

    allow(ada)
    says(ada, "You went on elsewhere")
    allow(second)
    says(second, "Connected")
    ada.goto(link)
    says(ada, "Connected")
    assert (street.refs(), street.asked()) == (["customer-42"], 1)


def test_a_double_click_begins_and_connects_once(street: Street, working: Exchanging, ada: Page, says: Says) -> None:
    ada.goto(street.link())
    ada.get_by_role("button", name=GO_ON).dblclick()
    ada.get_by_role("button", name="Allow").dblclick()
    says(ada, "Connected")
    assert (street.refs(), street.asked()) == (["customer-42"], 1)


@pytest.mark.parametrize("opened_before", [False, True])
def test_an_expired_link_says_so_and_leads_back(street: Street, ada: Page, says: Says, opened_before: bool) -> None:
    link = street.link(return_to=APPLICATION)
    if opened_before:
        ada.goto(link)
    street.scene.harness.run("update evergrant.tickets set expires_at = clock_timestamp()")

    if opened_before:
        ada.get_by_role("button", name=GO_ON).click()
    else:
        ada.goto(link)
    says(ada, "This link has expired")
    ada.get_by_role("link", name="Back to Acme Shop").click()
    says(ada, "evergrant=failed reason=expired ref=customer-42")


def test_a_browser_that_keeps_no_cookies_is_told_so_and_its_link_is_still_good(
    street: Street, working: Exchanging, windows: Browser, says: Says, tmp_path_factory: pytest.TempPathFactory
) -> None:
    link = street.link()
    with without_cookies(windows, tmp_path_factory.mktemp("profile")) as context:
        page = context.new_page()
        page.goto(link)
        page.get_by_role("button", name=GO_ON).click()
        says(page, "Your browser kept nothing")
        assert context.cookies() == []

    other = street.somebody().new_page()
    go_on(other, link)
    allow(other)
    says(other, "Connected")


def test_a_window_that_is_closed_too_soon_loses_nothing(street: Street, ada: Page, says: Says) -> None:
    link, context = street.link(), ada.context
    go_on(ada, link)
    ada.get_by_role("button", name="Allow").click(no_wait_after=True)
    eventually(lambda: street.rows("select from evergrant.visits where answered_at is not null"))
    ada.close()
    street.worker.once()

    again = context.new_page()
    again.goto(link)
    says(again, "Connected")


def test_a_window_that_is_closed_before_an_answer_is_opened_later_by_the_same_link(
    street: Street, working: Exchanging, ada: Page, says: Says
) -> None:
    link, context = street.link(), ada.context
    go_on(ada, link)
    ada.close()

    again = context.new_page()
    go_on(again, link)
    allow(again)
    says(again, "Connected")
    assert (street.refs(), street.asked()) == (["customer-42"], 1)


def test_a_browser_that_forgot_its_cookies_at_the_provider_is_told_what_leads_on(
    street: Street, working: Exchanging, ada: Page, says: Says
) -> None:
    """As one that was another: an application's own window that hands a sign-in on to the browser."""
    link = street.link()
    go_on(ada, link)
    ada.context.clear_cookies()
    allow(ada)
    says(ada, "This page belongs to another browser")
    expect(ada.get_by_role("main")).to_contain_text("Ask for a new link")

    ada.goto(link)
    says(ada, "This link was used already")
    go_on(ada, street.link())
    allow(ada)
    says(ada, "Connected")


def test_whoever_comes_back_with_another_account_is_told_so_and_may_come_again_with_the_right_one(
    street: Street, working: Exchanging, ada: Page, says: Says
) -> None:
    street.scene.harness.run(
        """update evergrant.clients set updated_at = clock_timestamp(),
            overrides = overrides || jsonb_build_object('introspect_url', cast(:url as text))""",
        url=f"{street.scene.provider.url}/oauth/introspect",
    )
    for user, heading in (("ada", "Connected"), ("mallory", "That was another account"), ("ada", "Connected")):
        go_on(ada, street.link())
        ada.get_by_label("Your name").fill(user)
        allow(ada)
        says(ada, heading)
    living = "select generation from evergrant.grants where status = 'active'"
    assert [tuple(row) for row in street.rows(living)] == [(2,)]


def test_a_provider_that_takes_long_is_waited_for_by_a_page_that_says_so(
    street: Street, working: Exchanging, says: Says
) -> None:
    street.scene.provider.add_fault("delay", where="token", delay_seconds=14, count=1)
    page = street.somebody(java_script_enabled=False).new_page()
    go_on(page, street.link(return_to=APPLICATION))
    allow(page)

    says(page, "Still working")
    expect(page.get_by_role("status")).to_have_text(f"{PROVIDER} has not answered yet.")
    says(page, "evergrant=connected ref=customer-42")
    assert street.asked() == 1


def test_a_worker_that_dies_amid_it_is_waited_for_and_the_truth_is_told(street: Street, ada: Page, says: Says) -> None:
    go_on(ada, street.link())
    allow(ada)
    eventually(lambda: street.rows("select from evergrant.visits where answered_at is not null"))
    street.worker.dies_before_it_stores()
    says(ada, "Still working")

    replay.drain_others(street.scene.harness.runtime)

    says(ada, "Connected")
    assert (street.refs(), street.asked()) == (["customer-42"], 1)


def test_a_page_is_left_by_no_address_that_tells_anything(street: Street, working: Exchanging, ada: Page) -> None:
    """What a window's history, and whoever looks over a shoulder, could take is good no more, or never was a secret."""
    seen: list[str] = []
    ada.on("framenavigated", lambda frame: seen.append(frame.url))
    go_on(ada, street.link())
    allow(ada)
    expect(ada.get_by_role("heading", level=1)).to_have_text("Connected")
    assert re.fullmatch(rf"{street.base}/outcome/[0-9a-f-]+", seen[-1])
    assert not any("code=" in each for each in seen)
