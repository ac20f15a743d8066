"""What a sender at the broker must be allowed: what the pages say is enough, and leaves nothing else."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from kombu.exceptions import OperationalError

import evergrant_client
from worker.embedded.engines import Engines
from worker.embedded.valkey import Valkey

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "use-from-another-application.md"
RULE = re.compile(r"^ACL SETUSER (\w+) (.*)$", re.MULTILINE)
PASSWORD = "a-password"
UPKEEP = "evergrant:upkeep"


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A broker with the users of the page."""
    with Engines(tmp_path_factory.mktemp("broker"), postgres=False) as engines:
        with engines.valkey.connect() as owner:
            for name, rules in RULE.findall(PAGE.read_text(encoding="utf-8")):
                owner.execute_command("ACL", "SETUSER", name, *rules.replace(">PASSWORD", f">{PASSWORD}").split())
        yield engines.valkey


def url(valkey: Valkey, name: str) -> str:
    return f"redis+socket://{name}:{PASSWORD}@{valkey.socket}?virtual_host=0"


def asked(valkey: Valkey) -> int:
    """How many messages stand in the queue; it is emptied."""
    with valkey.connect() as owner:
        found: Any = owner.llen(UPKEEP)
        owner.delete(UPKEEP)
        return int(found)


def by_the_client(broker: str) -> Celery:
    return evergrant_client.sender(broker)


def by_hand(broker: str) -> Celery:
    """As the reference of the client says for an app of one's own."""
    app = Celery("billing", broker=broker, set_as_current=False)
    app.conf.broker_transport_options = {"global_keyprefix": "evergrant:"}
    return app


@pytest.mark.parametrize(
    ("name", "made"), [("shop", by_the_client), ("shop_celery", by_the_client), ("shop_celery", by_hand)]
)
def test_who_may_push_to_one_list_can_ask(valkey: Valkey, name: str, made: Callable[[str], Celery]) -> None:
    app = made(url(valkey, name))
    for ref in ("a", "b"):
        app.send_task("evergrant.request_refresh", [ref], queue="upkeep", retry=False)
    app.close()
    assert asked(valkey) == 2


REFUSED: dict[str, tuple[Any, ...]] = {
    "read a message": ("LRANGE", UPKEEP, 0, -1),
    "take a message": ("RPOP", UPKEEP),
    "wait for a message": ("BRPOP", UPKEEP, 1),
    "throw all messages away": ("DEL", UPKEEP),
    "read a key": ("GET", "evergrant:unacked_mutex"),
    "list the keys": ("KEYS", "*"),
    "scan the keys": ("SCAN", 0),
    "empty the broker": ("FLUSHALL",),
    "empty the database": ("FLUSHDB",),
    "read the settings": ("CONFIG", "GET", "*"),
    "change the settings": ("CONFIG", "SET", "requirepass", ""),
    "shut it down": ("SHUTDOWN", "NOSAVE"),
    "tell everybody": ("PUBLISH", "evergrant:/0.celery.pidbox", "{}"),
    "listen": ("SUBSCRIBE", "x"),
    "look on": ("MONITOR",),
    "run a script": ("EVAL", "return 1", 0),
    "see the others": ("CLIENT", "LIST"),
    "change who may what": ("ACL", "SETUSER", "shop", "+@all"),
    "push what beat claims": ("LPUSH", "evergrant:refresh", "{}"),
    "push to the revocations": ("LPUSH", "evergrant:revoke", "{}"),
    "write into another application's list": ("LPUSH", "celery", "{}"),
    "keep a copy of its own": ("HSET", "evergrant:unacked", "a", "b"),
}


@pytest.mark.parametrize("name", ["shop", "shop_celery"])
@pytest.mark.parametrize("command", REFUSED.values(), ids=REFUSED)
def test_a_sender_may_do_nothing_else(valkey: Valkey, name: str, command: tuple[Any, ...]) -> None:
    with (
        redis.Redis(unix_socket_path=str(valkey.socket), username=name, password=PASSWORD) as sender,
        pytest.raises(redis.exceptions.NoPermissionError),
    ):
        sender.execute_command(*command)


def test_nobody_sends_without_the_password(valkey: Valkey) -> None:
    app = by_the_client(f"redis+socket://{valkey.socket}?virtual_host=0")
    with pytest.raises(OperationalError):
        app.send_task("evergrant.request_refresh", ["a"], queue="upkeep", retry=False)
    assert asked(valkey) == 0
