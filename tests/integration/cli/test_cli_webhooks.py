"""`evergrant webhooks` and `evergrant events`: as they are typed, and what they say."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import settings
from models.sealing.vault import Vault
from tasks.telling.teller import Teller
from tests.integration.cli.evergrant import Evergrant
from tests.polling import eventually
from tests.receivers import SECRET, SECRET_2, receiving
from worker.cli.webhooks.test import step_of

ROOT = Path(__file__).resolve().parents[3]
URL = "https://app.example/evergrant"


@pytest.fixture
def secret(tmp_path: Path) -> str:
    file = tmp_path / "webhook.secret"
    file.write_text(SECRET + "\n", encoding="utf-8")
    return str(file)


@pytest.fixture
def worker(adopted: settings.Settings, database: Any) -> Iterator[Teller]:
    """What a worker does for webhooks."""
    made = Teller(Vault.from_settings(adopted), adopted)
    made.start()
    yield made
    made.end()


def test_a_webhook_is_added_listed_paused_resumed_and_removed(temple: Evergrant, secret: str, sql: Any) -> None:
    added = temple(
        *("webhooks", "add", URL, "--secret-file", secret, "--type", "grant.needs_consent", "--type", "grant.late"),
        *("--client", "temple", "--json"),
    ).json
    assert (added["id"], added["url"], added["state"], added["queued"]) == (1, URL, "open", 0)
    assert (added["types"], added["clients"]) == (["grant.needs_consent", "grant.late"], ["temple"])
    assert SECRET not in json.dumps(added)
    assert temple("webhooks", "list", "--json").lines == [added]
    assert temple("webhooks", "pause", "1", "--json").json["state"] == "paused"
    assert temple("webhooks", "resume", "1", "--json").json["state"] == "open"
    assert temple("webhooks", "remove", "1", "--yes", "--json").json == {"id": 1, "removed": True, "dropped": 0}
    assert temple("webhooks", "list", "--json").lines == []
    told = sql(
        "select type, actor, data ->> 'host' as host from evergrant.events where type like 'webhook.%' order by id"
    )
    assert [each.type for each in told] == [
        *("webhook.added", "webhook.paused", "webhook.resumed", "webhook.removed"),
    ]
    assert told[0].host == "app.example"
    assert all(each.actor for each in told)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://app.example/", "plain http://"),
        ("ftp://app.example/", "https://"),
        ("app.example", "https://"),
        ("https://user:hush@app.example/", "user name"),
        ("https://app.example/#top", "fragment"),
        ("https://app.example/a b", "percent-encoded"),
        ("http://127.0.0.1:8000/", "this machine"),
        ("https://10.0.0.1/", "private network"),
        ("https://[::1]/", "private network"),
        ("https://169.254.169.254/latest", "private network"),
        ("https://[::ffff:10.0.0.1]/", "private network"),
    ],
)
def test_a_url_that_may_not_be_sent_to_is_refused_before_anything_is_stored(
    evergrant: Evergrant, secret: str, url: str, says: str
) -> None:
    done = evergrant("webhooks", "add", url, "--secret-file", secret)
    assert (done.code, done.out) == (2, "")
    assert says in done.err
    assert "hush" not in done.err
    assert evergrant("webhooks", "list", "--json").lines == []


def test_loopback_and_private_addresses_are_told_where_that_is_allowed(evergrant: Evergrant, secret: str) -> None:
    for url in ("http://127.0.0.1:8000/", "https://10.0.0.1/"):
        assert evergrant("webhooks", "add", url, "--secret-file", secret, "--allow-private").code == 0
    assert evergrant("webhooks", "add", "http://10.0.0.1/", "--secret-file", secret, "--allow-private").code == 2


@pytest.mark.parametrize("content", ["hush", "whsec_hush", "whsec_c2hvcnQ="])
def test_a_secret_that_is_none_is_refused_with_a_sentence_that_does_not_repeat_it(
    evergrant: Evergrant, content: str
) -> None:
    done = evergrant("webhooks", "add", URL, "--secret-file", "-", "--json", stdin=content)
    assert (done.code, done.error) == (2, "webhook_secret")
    assert content not in done.err
    assert "standard input" in done.err


def test_what_is_not_there_is_told_with_four(evergrant: Evergrant, secret: str) -> None:
    for command in ("pause 7", "resume 7", "test 7", "remove 7 --yes", f"rotate 7 --secret-file {secret}"):
        done = evergrant("webhooks", *command.split(), "--json")
        assert (done.code, done.error) == (4, "unknown_webhook"), command
    assert evergrant("webhooks", "deliveries", "--webhook", "7", "--json").error == "unknown_webhook"
    assert evergrant("webhooks", "redeliver", "7", "8", "--json").error == "unknown_delivery"
    nobody = evergrant("webhooks", "add", URL, "--secret-file", secret, "--client", "nobody", "--json")
    assert (nobody.code, nobody.error) == (4, "unknown_client")


def test_to_remove_one_somebody_must_say_yes(evergrant: Evergrant, secret: str) -> None:
    evergrant("webhooks", "add", URL, "--secret-file", secret)
    assert evergrant("webhooks", "remove", "1", "--json").error == "needs_yes"
    again = evergrant("webhooks", "add", URL, "--secret-file", secret, "--json")
    assert (again.code, again.error) == (1, "webhook_exists")


def test_a_test_goes_the_whole_way_and_tells_what_came_of_it(evergrant: Evergrant, secret: str, worker: Teller) -> None:
    with receiving() as receiver:
        evergrant("webhooks", "add", receiver.url, "--secret-file", secret, "--allow-private")
        done = evergrant("webhooks", "test", "1", "--json")
        assert (done.code, done.json["status"], done.json["type"]) == (0, "delivered", "webhook.test")
        assert receiver.types() == ["webhook.test"]
        assert receiver.taken[0]["data"] == {"webhook": 1}
    refused = evergrant("webhooks", "test", "1", "--json")
    assert (refused.code, refused.error) == (1, "not_delivered")
    assert "did not take the test" in refused.err
    assert evergrant("status", "--json").json["webhooks"][0]["dead"] == 0
    evergrant("webhooks", "pause", "1")
    assert evergrant("webhooks", "test", "1", "--json").error == "webhook_paused"


def test_a_test_that_no_worker_carries_out_says_so_when_its_time_is_over(evergrant: Evergrant, secret: str) -> None:
    evergrant("webhooks", "add", URL, "--secret-file", secret)
    assert evergrant("webhooks", "test", "1", "--timeout", "0.3s").code == 75


def test_what_was_given_up_is_shown_in_the_status_and_sent_again(
    temple: Evergrant, secret: str, worker: Teller
) -> None:
    ill = threading.Event()
    ill.set()
    with receiving(lambda _: (500, {}, b"") if ill.is_set() else (204, {}, b"")) as receiver:
        temple("webhooks", "add", receiver.url, "--secret-file", secret, "--allow-private")
        temple("clients", "pause", "temple")
        eventually(lambda: temple("webhooks", "deliveries", "--json").lines[0]["tries"])
        (given_up,) = _given_up(temple)
        (attention,) = [each for each in temple("status", "--json").json["attention"] if "webhook 1" in each["what"]]
        assert attention["what"] == "1 delivery to webhook 1 (127.0.0.1) given up"
        ill.clear()
        done = temple("webhooks", "redeliver", str(given_up["id"]), "--json").json
        assert done == {"ids": [given_up["id"]], "redelivered": 1}
        eventually(lambda: "client.paused" in receiver.types())
    assert receiver.taken[0]["id"] == given_up["event"]
    assert receiver.taken[0]["client"] == "temple"


def _given_up(temple: Evergrant) -> list[dict[str, Any]]:
    """As if three days had gone by."""
    from sqlalchemy import text

    from models.database import transaction

    with transaction() as connection:
        connection.execute(
            text(
                """update evergrant.webhook_deliveries
                set first_tried_at = now() - interval '4 days', try_at = now() where ended_at is null"""
            )
        )
    return eventually(lambda: temple("webhooks", "deliveries", "--status", "dead", "--json").lines)


def test_another_secret_takes_over_with_an_overlap(evergrant: Evergrant, secret: str, sql: Any) -> None:
    evergrant("webhooks", "add", URL, "--secret-file", secret)
    done = evergrant("webhooks", "rotate", "1", "--secret-file", "-", "--overlap", "2h", "--json", stdin=SECRET_2)
    assert done.json["former_secret_until"] is not None
    assert SECRET_2 not in done.out + done.err
    at_once = evergrant("webhooks", "rotate", "1", "--secret-file", secret, "--overlap", "0s", "--json")
    assert at_once.json["former_secret_until"] is None
    ((former,),) = sql("select sealed_former_secret from evergrant.webhooks")
    assert former is None


def test_a_key_that_seals_a_webhooks_secret_is_not_retired(evergrant: Evergrant, secret: str) -> None:
    evergrant("webhooks", "add", URL, "--secret-file", secret)
    used = {each["ring"]: each["values"] for each in evergrant("keys", "list", "--json").lines if each["values"]}
    assert used == {"refresh": 1}


def test_events_are_shown_in_their_order_as_webhooks_are_told_of_them(temple: Evergrant) -> None:
    temple("clients", "pause", "temple")
    temple("clients", "resume", "temple")
    found = temple("events", "--json").lines
    assert [each["type"] for each in found] == [
        *("client.added", "client.secret_changed", "client.paused", "client.resumed"),
    ]
    assert list(found[0]) == [
        *("id", "type", "occurred_at", "environment", "client", "ref", "generation", "labels", "reason", "data"),
        "actor",
    ]
    assert [each["type"] for each in temple("events", "--type", "client.paused", "--json").lines] == ["client.paused"]
    assert len(temple("events", "--since", "1h", "--client", "temple", "--json").lines) == 4
    assert temple("events", "--since", "2099-01-01", "--json").lines == []
    assert [each["type"] for each in temple("events", "--limit", "1", "--json").lines] == ["client.resumed"]
    assert temple("events", "--ref", "nobody", "--json").code == 4
    assert temple("events", "--since", "yesterday").code == 2
    assert "client.paused" in temple("events").out


def test_events_are_followed_as_they_come(temple: Evergrant, adopted: settings.Settings) -> None:
    assert adopted.database_url is not None
    following = subprocess.Popen(
        [sys.executable, "-m", "worker.cli", "events", "--follow", "--type", "client.paused", "--json"],
        cwd=ROOT,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONUNBUFFERED": "1",
            "EVERGRANT_HOME": str(adopted.home),
            "EVERGRANT_ENVIRONMENT": str(adopted.environment),
            "EVERGRANT_DATABASE_URL": adopted.database_url.get_secret_value(),
            "EVERGRANT_BROKER_URL": "redis://127.0.0.1:1",
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    lines: list[str] = []
    assert following.stdout is not None
    reading = threading.Thread(target=lines.extend, args=(following.stdout,), daemon=True)
    reading.start()
    try:
        for n in range(1, 4):
            temple("clients", "pause", "temple")
            temple("clients", "resume", "temple")
            eventually(lambda n=n: len(lines) == n, timeout=60)  # type: ignore[misc]
    finally:
        following.terminate()
        following.wait(20)
        reading.join(20)
        following.stdout.close()
    assert {json.loads(line)["type"] for line in lines} == {"client.paused"}
    assert len({json.loads(line)["id"] for line in lines}) == 3


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("http_301", "a redirect is not followed"),
        ("timeout", "not answered within ten seconds"),
        ("connect_timeout", "can be reached from the workers"),
        ("http_500", "in its own log"),
    ],
)
def test_what_to_do_about_a_receiver_fits_what_came_of_it(code: str, says: str) -> None:
    assert says in step_of(code)
