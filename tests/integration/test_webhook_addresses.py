"""A webhook's name is looked up once, and what was looked at is what is connected to, whatever it says next."""

import socket
from typing import Any

import pytest

from models import webhook_delivery
from models.database import transaction
from tasks.telling.teller import Teller
from tests.harness import Harness
from tests.integration.test_webhooks import add, say
from tests.polling import eventually
from tests.receivers import receiving


@pytest.mark.parametrize("answers", [["127.0.0.1"], ["127.0.0.1", "192.0.2.1"], ["10.1.2.3"], ["169.254.169.254"]])
def test_a_name_that_leads_home_is_never_connected_to(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, answers: list[str]
) -> None:
    said, asked = list(answers), socket.getaddrinfo
    looks: list[str] = []

    def look_up(host: Any, port: Any, *args: Any, **more: Any) -> Any:
        if host != "rebound.example":
            return asked(host, port, *args, **more)
        looks.append(host)
        address = said.pop(0) if len(said) > 1 else said[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    grant = harness.grant(harness.client())
    with receiving() as home:
        made = add(harness, home.url.replace("127.0.0.1", "rebound.example"), allow_private=False)
        teller = Teller(harness.runtime.vault, harness.settings)
        teller.start()
        say([grant])

        def code() -> str | None:
            with transaction() as connection:
                (found,) = webhook_delivery.listed(connection, webhook_id=made, most=1)
            return found["last_code"]  # type: ignore[no-any-return]

        eventually(code)
        teller.end()
        assert code() == "host_private"
        assert home.got == []
    assert looks
