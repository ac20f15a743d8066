"""The receivers on the page of webhooks run as they stand there: they take what we send, once, and nothing forged."""

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tasks.telling.teller import Teller
from tests.harness import Harness
from tests.integration.test_webhooks import JAVASCRIPT, add, say
from tests.other_languages import node_program
from tests.polling import eventually
from tests.receivers import SECRET

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "howto" / "be-told.md").read_text(encoding="utf-8")
PROGRAMS = {"python": ([sys.executable], "receiver.py"), "javascript": ([node_program()], "receiver.cjs")}


@contextmanager
def running(language: str, folder: Path) -> Iterator[tuple[int, list[str]]]:
    """Run the receiver of the page; its port, and what it prints."""
    (program, name), (code, *_) = PROGRAMS[language], re.findall(rf"```{language}\n(.+?)```", PAGE, re.DOTALL)
    (folder / name).write_text(code, encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    env = {**os.environ, "PORT": str(port), "WEBHOOK_SECRET": SECRET, "NODE_PATH": str(JAVASCRIPT)}
    process = subprocess.Popen(
        [*program, str(folder / name)], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    said: list[str] = []
    reading = threading.Thread(target=said.extend, args=(process.stdout,), daemon=True)
    reading.start()
    try:
        eventually(lambda: _listens(port))
        yield port, said
    finally:
        process.kill()
        process.wait(20)
        reading.join(20)
        process.stdout.close()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("language", PROGRAMS)
def test_a_receiver_of_the_page_takes_what_is_sent(harness: Harness, tmp_path: Path, language: str) -> None:
    grant = harness.grant(harness.client())
    teller = Teller(harness.runtime.vault, harness.settings)
    with running(language, tmp_path) as (port, said):
        url = f"http://127.0.0.1:{port}/"
        assert requests.post(url, data="{}", timeout=10).status_code == 401
        made = add(harness, url)
        teller.start()
        say([grant], reason="why")
        query = "select count(*) as n from evergrant.webhook_deliveries where outcome = 'delivered'"
        eventually(lambda: harness.one(query)["n"] == 1)
        again = "update evergrant.webhook_deliveries set ended_at = null, outcome = null, try_at = now()"
        harness.run(f"{again} where webhook_id = :id", id=made)
        eventually(lambda: harness.one(query)["n"] == 1)
        say([grant], reason="again")
        eventually(lambda: harness.one(query)["n"] == 2 and len(said) == 2)
        teller.end()
    assert [line.split() for line in said] == [["grant.late", "customer", "why"], ["grant.late", "customer", "again"]]
