"""Customers connect in a real Chromium at servers that are not the bundled one as it comes, with real beat and worker.

One is django-oauth-toolkit. The other imitates a Doorkeeper with `reuse_access_token`: the bundled simulator with that
habit, in its dialect `doorkeeper` and at `on_use`. So a user's second consent is answered with the pair that lives, a
predecessor dies when its successor is first used, a denial comes as a 302 with `error=access_denied`, no redirect names
its issuer, and nothing tells whose account it is.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.conftest import QUICK
from tests.acceptance.programs import ROOT
from tests.acceptance.providers import Doorkeeper, Toolkit, simulated, toolkit_beside
from tests.acceptance.town import Town, go_on, press, says, town
from tests.polling import eventually

PASSWORD = "correct horse battery staple"
LIFETIME = 12.0
LONG = 40  # seconds; a request has 30, where its provider's file says nothing


@pytest.fixture(scope="module")
def here(shared_servers: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with town(shared_servers, tmp_path_factory.mktemp("town"), **QUICK) as made:
        patient_file(Path(made.installation.env["EVERGRANT_HOME"]) / "providers" / "patient.toml")
        yield made


@pytest.fixture(scope="module")
def toolkit(here: Town, shared_servers: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toolkit]:
    """It rotates, and ends a whole family where a token is used twice; its users sign in and press Authorize."""
    with toolkit_beside(shared_servers, tmp_path_factory.mktemp("toolkit"), lifetime=LIFETIME) as server:
        client = server.another("acme", f"{here.url}/callback")
        here.welcome("toolkit", client)
        yield client


@pytest.fixture(scope="module")
def doorkeeper(here: Town) -> Iterator[Doorkeeper]:
    """What the first lines of this file say."""
    with simulated("on_use", lifetime=LIFETIME, dialect="doorkeeper") as server:
        server.control.configure(habits={"reuse_access_token": True})
        client = Doorkeeper(server.control, "on_use", "acme", f"{here.url}/callback")
        here.welcome("doorkeeper", client)
        yield client


# django-oauth-toolkit


def at_the_toolkit(here: Town, toolkit: Toolkit, name: str) -> Page:
    """Somebody who came by a link, and signed in: they are asked; their ref is their name."""
    toolkit.add_user(name, PASSWORD)
    page = here.somebody()
    go_on(page, here.link(name, "toolkit"))
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    press(page, "Sign in")
    return page


def test_at_django_oauth_toolkit_whoever_goes_back_and_clicks_twice_is_connected_once_and_renewed(
    here: Town, toolkit: Toolkit
) -> None:
    ada = at_the_toolkit(here, toolkit, "ada")
    ada.go_back()  # to where she signed in
    ada.go_back()
    ada.get_by_role("button", name="Continue to").dblclick()
    ada.get_by_role("button", name="Authorize").dblclick()
    says(ada, "Connected")
    ada.go_back()
    press(ada, "Authorize")  # which gives one more code
    says(ada, "Connected")

    assert toolkit.living()["ada"]["refresh"] == 1
    here.is_renewed("ada", toolkit)


def test_at_django_oauth_toolkit_a_no_is_told_and_a_new_link_is_good_for_a_yes(here: Town, toolkit: Toolkit) -> None:
    ben = at_the_toolkit(here, toolkit, "ben")
    press(ben, "Cancel")
    says(ben, "Not connected")
    ben.go_back()
    press(ben, "Authorize")
    says(ben, "Not connected")  # as it said: ask for a new link
    assert toolkit.living()["ben"] == {"refresh": 0, "access": 0}

    go_on(ben, here.link("ben", "toolkit"))
    press(ben, "Authorize")
    says(ben, "Connected")
    assert toolkit.living()["ben"]["refresh"] == 1


def test_at_django_oauth_toolkit_whoever_withdrew_connects_again_and_one_consent_lives(
    here: Town, toolkit: Toolkit
) -> None:
    cleo = at_the_toolkit(here, toolkit, "cleo")
    press(cleo, "Authorize")
    says(cleo, "Connected")
    before = here.generation("cleo")
    toolkit.end_by_user(["cleo"])

    go_on(cleo, here.link("cleo", "toolkit"))
    press(cleo, "Authorize")
    says(cleo, "Connected")
    assert here.generation("cleo") > before
    here.is_renewed("cleo", toolkit)
    eventually(lambda: toolkit.living()["cleo"]["refresh"] == 1)


# A Doorkeeper


def at_the_doorkeeper(page: Page, link: str, user: str) -> None:
    """Whoever comes by a link is asked there, as a user of that server."""
    go_on(page, link)
    page.get_by_label("Your name").fill(user)


def test_at_a_doorkeeper_whoever_goes_back_after_a_no_is_told_what_to_do(here: Town, doorkeeper: Doorkeeper) -> None:
    fay = here.somebody()
    at_the_doorkeeper(fay, here.link("fay", "doorkeeper"), "fay")
    press(fay, "Deny")
    says(fay, "Not connected")
    fay.go_back()
    press(fay, "Allow")
    says(fay, "Not connected")
    assert here.generation("fay") == 0

    at_the_doorkeeper(fay, here.link("fay", "doorkeeper"), "fay")
    press(fay, "Allow")
    says(fay, "Connected")


def test_at_a_doorkeeper_that_gives_the_same_pair_again_one_grant_goes_on_and_no_other_ref_takes_it(
    here: Town, doorkeeper: Doorkeeper
) -> None:
    dora = here.somebody()
    go_on(dora, here.link("dora", "doorkeeper"))
    dora.go_back()
    for _ in ("connect", "reconnect"):
        at_the_doorkeeper(dora, here.link("dora", "doorkeeper"), "dora")
        press(dora, "Allow")
        says(dora, "Connected")
    assert len(here.installation.rows("select 1 as n from evergrant.grants where ref = 'dora'")) == 1

    at_the_doorkeeper(dora, here.link("somebody-else", "doorkeeper"), "dora")
    press(dora, "Allow")
    says(dora, "This account is connected already")
    assert here.generation("somebody-else") == 0
    here.is_renewed("dora", doorkeeper)
    assert not {"dora", "fay"} & set(doorkeeper.lost())


# Something of ours is away


def test_a_database_that_is_away_uses_up_no_link_and_loses_no_code(here: Town, doorkeeper: Doorkeeper) -> None:
    gil, link = here.somebody(), here.link("gil", "doorkeeper")
    gil.goto(link)
    with here.without_database():
        press(gil, "Continue to")
        says(gil, "Not now")
        expect(gil.get_by_role("main")).to_contain_text("Open the link again")

    at_the_doorkeeper(gil, link, "gil")
    with here.without_database():
        press(gil, "Allow")
        says(gil, "Not now")
    says(gil, "Connected")  # by itself


# A provider that answers after forty seconds: its customers come first, for all others are tried meanwhile


def patient_file(path: Path) -> None:
    """A provider of one's own: a Doorkeeper that is known to take long."""
    path.parent.mkdir()
    shipped = (ROOT / "tasks/oauth/providers/doorkeeper.toml").read_text(encoding="utf-8")
    path.write_text(shipped.replace('revocation = "token"', 'revocation = "token"\ndeadline_seconds = 60'))


@pytest.fixture(scope="module", autouse=True)
def waiting(here: Town, doorkeeper: Doorkeeper) -> dict[str, Page]:
    """By client: the window of a customer whose code is exchanged in so long a time."""
    windows = {}
    for name, options in (("hasty", ()), ("patient", ("--provider", "patient"))):
        client = Doorkeeper(doorkeeper.control, "on_use", name, f"{here.url}/callback")
        here.welcome(name, client, *options)
        client.control.add_fault("delay", where="token", when="after", delay_seconds=LONG, count=1, client_id=name)
        page = windows[name] = here.somebody()
        at_the_doorkeeper(page, here.link(f"of-{name}", name), name)
        page.get_by_role("button", name="Allow").click(no_wait_after=True)
    return windows


def test_whoever_is_answered_after_forty_seconds_is_told_the_truth_and_loses_nothing_by_coming_again(
    here: Town, doorkeeper: Doorkeeper, waiting: dict[str, Page]
) -> None:
    says(waiting["patient"], "Connected")
    here.is_renewed("of-patient", doorkeeper)

    hasty = waiting["hasty"]
    says(hasty, "Probably not connected")
    assert here.generation("of-hasty") == 0
    at_the_doorkeeper(hasty, here.link("of-hasty", "hasty"), "hasty")
    press(hasty, "Allow")
    says(hasty, "Connected")
    here.is_renewed("of-hasty", doorkeeper)


# The worker is away: last, for until here it has customers' codes under way


def test_a_worker_killed_amid_an_exchange_and_one_without_the_key_lose_no_customer(
    here: Town, doorkeeper: Doorkeeper
) -> None:
    hal, ida = here.somebody(), here.somebody()
    late = {"when": "after", "delay_seconds": 5, "count": 1, "client_id": "acme"}
    doorkeeper.control.add_fault("delay", where="token", grant_type="authorization_code", **late)
    for page, name in ((hal, "hal"), (ida, "ida")):
        at_the_doorkeeper(page, here.link(name, "doorkeeper"), name)
    hal.get_by_role("button", name="Allow").click(no_wait_after=True)
    eventually(lambda: doorkeeper.control.requests(endpoint="token", ref="hal"))
    here.at_work.kill()
    ida.get_by_role("button", name="Allow").click(no_wait_after=True)

    here.worker(access_token_keys_file=here.former_ring)
    says(hal, "Probably not connected")
    expect(hal.get_by_role("main")).to_contain_text("You lose nothing by connecting once more")
    says(ida, "Still working")
    expect(ida.get_by_role("main")).to_contain_text("cannot be asked right now")

    here.at_work.kill()
    here.worker()
    at_the_doorkeeper(hal, here.link("hal", "doorkeeper"), "hal")
    press(hal, "Allow")
    for page, name in ((hal, "hal"), (ida, "ida")):
        says(page, "Connected")
        here.is_renewed(name, doorkeeper)
    assert here.installation.statuses("doorkeeper").keys() == {"active"}
