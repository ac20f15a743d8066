"""What a key may do and how long it lives, as it is typed and told."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import click

from models.states.application import Right
from worker.cli.arguments import Duration
from worker.cli.output import iso

LONGEST = timedelta(days=3650)


class Rights(click.ParamType[tuple[str, ...], str | tuple[str, ...]]):
    """Rights, with commas between: `read,refresh`."""

    name = "rights"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Read the text."""
        if isinstance(value, tuple):
            return value
        words = [word.strip() for word in str(value).split(",") if word.strip()]
        unknown = [word for word in words if word not in Right.meanings()]
        if unknown or not words:
            wrong = f"{unknown[0]!r} is no right" if unknown else "no right is named"
            self.fail(f"{wrong}: write some of {','.join(Right)} with commas between", param, ctx)
        if Right.ERASE in words and Right.REVOKE not in words:
            self.fail("erase is asked for together with a revocation: write revoke,erase", param, ctx)
        return tuple(str(each) for each in Right if each in words)


class Life(Duration):
    """How long a key lives: more than nothing, ten years at most."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Read the text."""
        found = super().convert(value, param, ctx)
        if not timedelta(0) < found <= LONGEST:
            self.fail(f"a key lives between 1s and {LONGEST.days}d, and not '{value}'", param, ctx)
        return found


def listed(words: Sequence[str]) -> str:
    """Words as in a sentence: `read, refresh and revoke`."""
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


def until(expires_at: datetime | None) -> str:
    """When a key ends, as the end of a sentence."""
    return "it has no end" if expires_at is None else f"it ends {iso(expires_at)}"
