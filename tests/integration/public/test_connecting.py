"""A customer connects in a browser: from the link to every end that there is."""

from collections.abc import Callable
from typing import Any

from tests.integration.public.browser import Browser
from tests.integration.public.conftest import Exchanging
from tests.integration.web.page import Page

Link = Callable[..., str]
Rows = Callable[..., list[Any]]


def test_a_customer_connects_and_the_page_says_so_in_the_clients_name(
    browser: Browser, link: Link, working: Exchanging, rows: Rows
) -> None:
    told = Page(browser.connect(link(labels={"org": "8f2"})))

    assert "Acme Shop is connected with your account at The bundled simulator" in told.words
    assert rows("select ref, status, generation, labels from evergrant.grants") == [
        ("customer-42", "active", 1, {"org": ["8f2"]})
    ]
