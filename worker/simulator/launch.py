"""Launching simulators for tests and the demo: in a thread of this process, or as a process of its own."""

import asyncio
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from worker.simulator.control import SimulatorControl
from worker.simulator.server import Simulator, listening, make

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
    """Run `python -m worker.simulator` with options as on its command line (`faults` is a list of texts).

    Raises:
        RuntimeError: it ended before it listened; the message holds what it said.
    """
    process = subprocess.Popen(  # noqa: S603 (our own program)
        [sys.executable, "-m", "worker.simulator", *_arguments(options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        start_new_session=True,
    )
    try:
        yield SimulatorControl(_printed_url(process))
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


def _arguments(options: dict[str, Any]) -> list[str]:
    faults = options.pop("faults", ())
    named = {"port": 0, **options}
    return [f"--{name}={value}" for name, value in named.items()] + [f"--fault={text}" for text in faults]


def _printed_url(process: "subprocess.Popen[str]") -> str:
    line = process.stdout.readline() if process.stdout else ""
    found = re.search(r"http://[\d.]+:\d+", line)
    if found is None:
        rest = process.stdout.read() if process.stdout else ""
        message = f"the simulator did not start: {line}{rest}"
        raise RuntimeError(message)
    return found.group()


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
