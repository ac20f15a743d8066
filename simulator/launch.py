"""Launching simulators for tests and the demo: in a thread of this process, or as a process of its own."""

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

from simulator.control import SimulatorControl
from simulator.server import Simulator, listening, make

START_SECONDS = 30.0


@contextmanager
def simulator_thread(*, port: int = 0, **options: Any) -> Iterator[SimulatorControl]:
    """Run a simulator in a thread; `options` are those of `server.make`. Yields its control.

    Raises:
        ValueError: an option cannot be read.
        OSError: the port is in use.
    """
    with _served(make(**options), port) as url:
        yield SimulatorControl(url)


@contextmanager
def simulator_process(**options: Any) -> Iterator[SimulatorControl]:
    """Run `python -m simulator` as a process of its own; `options` are those of `server.make`.

    Raises:
        RuntimeError: it ended before it listened; the message holds what it said.
    """
    with tempfile.TemporaryFile("w+") as said:  # not a pipe: nobody would read it, and it would fill
        process = subprocess.Popen(  # noqa: S603 (our own program)
            [sys.executable, "-m", "simulator", *_arguments(**options)],
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
            start_new_session=True,
        )
        try:
            yield SimulatorControl(_printed_url(process, said))
        finally:
            _stop(process)


def _arguments(
    *, port: int = 0, lifetime: timedelta = timedelta(hours=2), faults: Sequence[str] = (), **more: Any
) -> list[str]:
    named = {"port": port, "lifetime": lifetime.total_seconds(), **more}
    return [f"--{name}={value}" for name, value in named.items()] + [f"--fault={text}" for text in faults]


def _printed_url(process: "subprocess.Popen[str]", said: IO[str]) -> str:
    line = process.stdout.readline() if process.stdout else ""
    found = re.search(r"http://[\d.]+:\d+", line)
    if found is None:
        process.wait(START_SECONDS)
        said.seek(0)
        message = f"the simulator did not start: {line}{said.read()}"
        raise RuntimeError(message)
    return found.group()


def _stop(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()


@contextmanager
def _served(simulator: Simulator, port: int) -> Iterator[str]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="simulator", daemon=True)
    thread.start()
    server = listening(simulator, port)
    try:
        url = asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(START_SECONDS)
        try:
            yield url
        finally:
            closing = server.__aexit__(None, None, None)
            asyncio.run_coroutine_threadsafe(closing, loop).result(START_SECONDS)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_SECONDS)
        loop.close()
