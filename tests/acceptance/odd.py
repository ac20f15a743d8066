"""Odd processes: a worker whose clock jumps, a beat that says everything ten times. Nothing but tests starts them.

    python -m tests.acceptance.odd worker --clock FILE -- -n worker-1@localhost
    python -m tests.acceptance.odd beat --times 10

FILE holds by how many seconds the clock is wrong, and may change at any time.
"""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click

TRUE_TIME = time.time


@click.command()
@click.argument("kind", type=click.Choice(["worker", "beat"]))
@click.option("--clock", type=click.Path(path_type=Path))
@click.option("--times", default=1)
@click.argument("arguments", nargs=-1)
def main(kind: str, clock: Path | None, times: int, arguments: Sequence[str]) -> None:
    """Be a Celery worker or beat of this project, but for one thing."""
    if clock is not None:
        shift(clock)
    from worker.celery import app

    if times > 1:
        repeat(app, times)
    app.start([kind, *arguments])


def shift(file: Path) -> None:
    """Let all that reads this machine's time of day read a wrong one: ours, and Celery's and kombu's."""

    def wrong() -> float:
        return float(file.read_text(encoding="ascii"))

    time.time = lambda: TRUE_TIME() + wrong()
    from tasks.runtime import clock

    true: Any = clock.wall

    def wall() -> datetime:
        now: datetime = true() + timedelta(seconds=wrong())
        return now

    clock.wall = wall


def repeat(app: Any, times: int) -> None:
    """Send every message so many times."""
    send = app.send_task

    def send_task(*arguments: Any, **options: Any) -> None:
        for _ in range(times):
            send(*arguments, **options)

    app.send_task = send_task


if __name__ == "__main__":
    main()
