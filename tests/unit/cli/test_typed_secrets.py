"""A secret that somebody types at a terminal is asked for, and not shown; from a pipe it is read as it comes."""

import os
import select
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.polling import eventually

READ = "from worker.cli.arguments import {read}; print('read', len({read}('-', what={what!r})))"
PEM = b"-----BEGIN PRIVATE KEY-----\nhushhush\n-----END PRIVATE KEY-----\n"


@contextmanager
def typing(read: str, *, what: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A terminal at which `read` reads a secret; its other end."""
    ours, theirs = os.openpty()
    script = READ.format(read=read, what=what)
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as reading:
        try:
            yield ours, reading
        finally:
            reading.kill()
            os.close(theirs)
            os.close(ours)


def shows(terminal: int) -> bool:
    return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)


def screen(terminal: int) -> str:
    shown = b""
    while select.select([terminal], [], [], 0)[0]:
        shown += os.read(terminal, 4096)
    return shown.decode()


@pytest.mark.parametrize(
    ("read", "what", "typed", "asks", "length"),
    [
        ("read_secret", "client secret", b"hushhush\n", "Client secret: ", len("hushhush")),
        ("read_secret", "callback URL", b"https://hushhush\n", "Callback URL: ", len("https://hushhush")),
        ("read_pem", "private key", PEM + b"\x04", "Private key, and then Ctrl-D on a line of its own: ", len(PEM)),
    ],
)
def test_what_is_typed_is_asked_for_and_not_shown(read: str, what: str, typed: bytes, asks: str, length: int) -> None:
    with typing(read, what=what) as (terminal, reading):
        eventually(lambda: not shows(terminal))
        os.write(terminal, typed)
        assert reading.wait(30) == 0
        seen = screen(terminal)
        assert asks in seen
        assert f"read {length}" in seen
        assert "hushhush" not in seen
        assert shows(terminal), "the terminal is as it was"


def test_nothing_typed_is_refused_as_nothing_from_a_pipe_is() -> None:
    with typing("read_secret", what="client secret") as (terminal, reading):
        eventually(lambda: not shows(terminal))
        os.write(terminal, b"\n")
        assert reading.wait(30) != 0
        assert "The client secret in standard input is empty" in screen(terminal)


@pytest.mark.parametrize(("read", "sent"), [("read_secret", b"hushhush\n"), ("read_pem", PEM)])
def test_nothing_is_asked_of_a_pipe(read: str, sent: bytes) -> None:
    script = READ.format(read=read, what="client secret")
    done = subprocess.run([sys.executable, "-c", script], input=sent, capture_output=True, timeout=30, check=True)
    assert done.stdout.decode().split() == ["read", str(len(sent.rstrip()) if read == "read_secret" else len(sent))]
    assert done.stderr == b""
