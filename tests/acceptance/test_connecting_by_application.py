"""An application leads its customer through connecting and back, beside a real `up`: by package, 409 and webhook."""

from pathlib import Path

import pytest

from evergrant_client import Evergrant, NeedsConsent
from tests.acceptance.test_connecting import comes_to, connecting, free_port
from tests.integration.web.asking import ask
from tests.polling import eventually
from tests.receivers import SECRET, receiving

DIES = """
    with dead as (
        update evergrant.grants set status = 'needs_consent', reason = 'revoked' where ref = 'customer-42'
        returning client_id, id, ref, generation, labels
    )
    insert into evergrant.events (type, client_id, grant_id, ref, generation, labels, reason, data)
    select 'grant.needs_consent', client_id, id, ref, generation, labels, 'revoked', '{}' from dead returning id
"""


def test_an_application_has_its_customer_connect_and_come_back(tmp_path: Path) -> None:
    tokens = f"127.0.0.1:{free_port()}"
    folder = tmp_path / "machine"
    with (
        receiving() as receiver,
        connecting(folder, log_level="DEBUG", token_bind=tokens) as (machine, _, browser),
    ):
        machine.command("apps", "add", "shop", "--may", "read,connect", "--key-file", str(tmp_path / "key"))
        key = (tmp_path / "key").read_text(encoding="utf-8").strip()
        (tmp_path / "secret").write_text(SECRET, encoding="utf-8")
        machine.command("webhooks", "add", receiver.url, "--secret-file", str(tmp_path / "secret"), "--allow-private")
        evergrant = Evergrant(token_url=f"http://{tokens}", application_key=key)

        links = [evergrant.connect_url("customer-42", client="shop", labels={"org": "8f2"})]
        browser.connect(links[0])
        comes_to(browser, "Acme is connected")
        assert evergrant.access_token("customer-42").generation == 1

        assert machine.rows(DIES)
        eventually(lambda: "grant.needs_consent" in receiver.types())
        (path,) = {each["connect"] for each in receiver.taken if each["type"] == "grant.needs_consent"}
        with pytest.raises(NeedsConsent) as needed:
            Evergrant(token_url=f"http://{tokens}", application_key=key).access_token("customer-42")
        bearer = {"Authorization": f"Bearer {key}"}
        told = ask(f"http://{tokens}", "GET", "/v1/grants/customer-42/token", headers=bearer)
        assert (told.status, told.json["connect"]) == (409, path)
        assert len(machine.listed("tickets", "list")) == 1  # nobody made what nobody has asked for

        links += [ask(f"http://{tokens}", "POST", path, headers=bearer).json["url"], needed.value.connect_url or ""]
        browser.connect(links[1])
        comes_to(browser, "Acme is connected")
        again = Evergrant(token_url=f"http://{tokens}", application_key=key).access_token("customer-42")
        assert again.generation == 2
        assert machine.listed("grants", "list")[0]["labels"] == {"org": ["8f2"]}

        said = "".join(each.log.read_text(errors="replace") for each in machine.processes)
        said += "".join(str(each) for each in receiver.taken) + machine.command("events", "--json")
        said += f"{needed.value} {needed.value!r}"
        assert "web.connect" in said
        assert [link for link in links if link.rpartition("/")[2] in said] == []
