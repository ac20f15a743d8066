"""A customer while something of ours is away: nothing is lost, and what is said is true."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import QueuePool

import settings
from models import database, operator_actions
from models.database import transaction
from models.sealing.vault import KeyRing, Vault
from tests.certificates import written
from tests.integration.public.browser import PUBLIC_URL, Browser
from tests.integration.public.conftest import Scene, listening
from tests.integration.public.test_connecting import back, ended, words


@pytest.fixture
def away(scene: Scene) -> Iterator[Any]:
    """`away(True)`: the listener's database is none any more; `away(False)`: it is back."""
    found = settings.current()

    def gone(is_gone: bool) -> None:
        url = SecretStr("postgresql://evergrant@127.0.0.1:9/none") if is_gone else found.database_url
        settings.adopt(found.model_copy(update={"database_url": url}))

    yield gone
    settings.adopt(found)
    database.dispose()


def test_a_database_that_is_away_burns_no_link_and_loses_no_code(scene: Scene, away: Any) -> None:
    link, other = scene.link(), scene.link("other")
    opened = scene.browser.open(link)
    callback = back(scene.browser, other)

    away(True)
    scene.browser.open(link)
    pressed = scene.browser.press(opened, follow=False)
    arrived = scene.browser.open(callback, follow=False)

    for answer in (pressed, arrived):
        assert answer.status == 503
        assert "does not answer" in words(answer)
    assert arrived.headers["refresh"] == "5"  # the same address again, with the code
    assert "tries again by itself" in words(arrived)
    assert "refresh" not in pressed.headers
    assert "Open the link again" in words(pressed)

    away(False)
    assert scene.browser.open(callback, follow=False).status == 303
    scene.worker.once()
    assert "is connected" in words(scene.browser.open(callback))
    scene.browser.open(link)
    assert scene.browser.press(opened, follow=False).status == 303


def test_another_address_of_the_database_leaves_no_connection_at_the_one_before(scene: Scene, away: Any) -> None:
    assert scene.rows("select 1") == [(1,)]
    before = database.engine().pool
    assert isinstance(before, QueuePool)
    assert before.checkedin() > 0
    away(True)
    database.engine()
    assert before.checkedin() == 0


def test_a_worker_without_the_key_leaves_the_code_to_another(scene: Scene) -> None:
    callback = back(scene.browser, scene.link())
    outcome = PUBLIC_URL + scene.browser.open(callback, follow=False).headers["location"]
    right = scene.harness.runtime.vault
    scene.harness.runtime.vault = Vault(right.refresh, KeyRing.parse(KeyRing.generate_line("other")))

    scene.worker.once()
    assert "cannot be asked right now" in words(scene.browser.open(outcome))
    assert scene.rows("select held_by from evergrant.visits") == [("keys",)]
    assert scene.provider.requests(endpoint="token") == []

    scene.harness.runtime.vault = right
    scene.harness.run("update evergrant.visits set offered_at = offered_at - interval '1 minute'")
    scene.worker.once()
    assert "is connected" in words(scene.browser.open(outcome))


def test_the_process_that_serves_customers_opens_no_refresh_token(scene: Scene) -> None:
    """What it has sealed it could open; nothing else of a grant's renewal."""
    from worker.web.server import access_vault

    vault = access_vault(settings.current())
    assert vault.refresh is None
    assert "is connected" in words(ended(scene.browser, scene.link(), scene.worker))


def test_a_provider_file_that_is_gone_burns_no_link(scene: Scene) -> None:
    shared = scene.link()
    scene.harness.run("update evergrant.clients set provider = 'gone'")
    assert "not set up" in words(scene.browser.connect(shared))

    scene.harness.run("update evergrant.clients set provider = 'simulator'")
    assert scene.browser.press(scene.browser.open(shared), follow=False).status == 303


def test_whose_old_consent_is_being_ended_is_told_to_wait(scene: Scene) -> None:
    """Where one revocation ends everything of a user, a new consent would die with the old one."""
    client = scene.rows("select id from evergrant.clients")[0][0]
    scene.harness.grant(client, "customer-42")
    scene.harness.run(
        """update evergrant.clients set updated_at = clock_timestamp(),
            overrides = overrides || '{"revocation": "grant"}'"""
    )
    scene.harness.run("select evergrant.request_revocation('customer-42')")
    shared = scene.link()

    assert "Not yet" in words(scene.browser.connect(shared))
    scene.harness.run("update evergrant.revocations set status = 'done', evidence = 'verified'")
    assert scene.browser.press(scene.browser.open(shared), follow=False).status == 303


def test_whoever_comes_while_the_client_is_paused_is_not_sent_away_for_nothing(scene: Scene) -> None:
    shared = scene.link()
    (client,) = scene.rows("select id, name from evergrant.clients")
    with transaction() as connection:
        operator_actions.pause_client(connection, client.id, who="tests")
    assert "has paused everything" in words(scene.browser.connect(shared))
    assert scene.rows("select from evergrant.visits") == []

    with transaction() as connection:
        operator_actions.resume_client(connection, client.id, who="tests")
    assert scene.browser.press(scene.browser.open(shared), follow=False).status == 303


def test_a_copy_of_a_database_sends_no_customer_anywhere(scene: Scene) -> None:
    scene.harness.run("update evergrant.installation set environment = 'another'")
    assert "not set up" in words(scene.browser.connect(scene.link()))


def test_it_serves_tls_by_itself(scene: Scene, tmp_path: Path) -> None:
    certificate, key = written(tmp_path)
    with listening(public_behind_proxy=False, public_tls_certificate=certificate, public_tls_key=key) as address:
        assert address.startswith("https://")
        context = ssl.create_default_context(cafile=certificate)
        browser = Browser(address, tls=context)
        assert "Connect Acme Shop" in words(browser.open(scene.link()))
