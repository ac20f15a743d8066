"""A webhook's name is looked up once, and what was looked at is what is connected to, whatever it says next."""

import socket
from typing import Any

import pytest
from aiohttp.abc import ResolveResult

from models import webhook_delivery
from models.database import transaction
from tasks.oauth.host_names import HostNames
from tasks.telling.teller import Teller
from tests.harness import Harness
from tests.integration.test_webhooks import add, say
from tests.polling import eventually
from tests.receivers import receiving


@pytest.mark.parametrize("answers", [["127.0.0.1"], ["127.0.0.1", "192.0.2.1"], ["10.1.2.3"], ["169.254.169.254"]])
def test_a_name_that_leads_home_is_never_connected_to(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, answers: list[str]
) -> None:
    said, asked = list(answers), HostNames.resolve
    looks: list[str] = []

    async def look_up(resolver: HostNames, host: str, port: int = 0, *more: Any) -> list[ResolveResult]:
        if host != "rebound.example":
            return await asked(resolver, host, port, *more)
        looks.append(host)
        address = said.pop(0) if len(said) > 1 else said[0]
        flags = socket.AI_NUMERICHOST
        return [ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=6, flags=flags)]

    monkeypatch.setattr(HostNames, "resolve", look_up)
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
