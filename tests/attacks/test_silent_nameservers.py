"""Names that no nameserver answers for, a customer's or a webhook's: every other provider is reached as before.

In namespaces of its own, where a nameserver of ours is the only one; a machine that has none for us is passed over.
"""

import json
import subprocess
import sys
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path

import pytest

from tasks.oauth.answer import Answer, Response
from tasks.oauth.messages import Request
from tests.attacks import nameserver
from tests.raw_servers import Bench, keep_answering

ROOT = Path(__file__).parents[2]
APART = ["unshare", "--map-root-user", "--mount", "--net", "--"]
WITH_OUR_NAMESERVER = 'ip link set lo up && mount --bind "$0" /etc/resolv.conf && exec "$@"'
SILENT = 40
OTHERS = 5
# Whoever waited behind a silent name would wait for ten seconds: so long the system asks again for each.
PATIENCE = timedelta(seconds=8)


def apart(nameservers: Path, *argv: str) -> "subprocess.CompletedProcess[str]":
    """Carry out a program where our nameserver is asked for every name."""
    program = [*APART, "sh", "-c", WITH_OUR_NAMESERVER, str(nameservers), *argv]
    return subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def nameservers(tmp_path: Path) -> Path:
    """What is put in the place of `resolv.conf`."""
    file = tmp_path / "resolv.conf"
    file.write_text("nameserver 127.0.0.1\n", encoding="ascii")
    try:
        may = apart(file, "true").returncode == 0
    except FileNotFoundError:
        may = False
    if not may:
        pytest.skip("no namespaces for us here")
    return file


@pytest.mark.parametrize("whose", ["providers", "webhooks"])
def test_forty_silent_names_keep_no_other_name_waiting(nameservers: Path, whose: str) -> None:
    done = apart(nameservers, sys.executable, "-m", __name__, whose)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"reached": OTHERS, "still waiting": SILENT}


def main(whose: str) -> None:
    """Ask for the silent ones, then for others: tell how many of these are reached while those wait."""
    nameserver.serve()
    bench = Bench()
    server = bench.serve(keep_answering)

    def ask(name: str, *, public_only: bool = False) -> "Future[Answer]":
        request = Request("POST", f"http://{name}:{server.port}/t", {}, b"r=1", public_only=public_only)
        return bench.transport.submit(bench.transport.send(request, deadline=PATIENCE))

    silent = [ask(f"silent-{n}.customer-{n % 3}.test", public_only=whose == "webhooks") for n in range(SILENT)]
    answers = [each.result() for each in [ask(f"provider-{n}.test") for n in range(OTHERS)]]
    reached = sum(isinstance(each, Response) for each in answers)
    sys.stdout.write(json.dumps({"reached": reached, "still waiting": sum(not each.done() for each in silent)}))
    bench.close()


if __name__ == "__main__":
    main(sys.argv[1])
