"""What a command says when it cannot do its work: one sentence, what to do next, and an exit code.

A command raises `Failure`; translations.py turns every other exception into one.
"""

import json
from enum import IntEnum

import click

from worker.cli.started import as_started


class ExitCode(IntEnum):
    """How `evergrant` ends."""

    DONE = 0
    FAILED = 1  # it did not work, or a check found something
    USAGE = 2  # the command line or a setting is wrong
    HUMAN = 3  # a human must act: needs_consent, a dead letter
    NOT_FOUND = 4  # no such ref, client, letter …
    INTERRUPTED = 130  # Ctrl-C
    BROKEN_PIPE = 141  # whoever read our output left, as `| head` does
    TRY_AGAIN = 75  # the database or the provider is away, or `--timeout` ran out


class Failure(Exception):
    """A command cannot do its work: `message` says why, `next_step` what to do; told as one sentence.

    `code` is for programs: lower case, never changed once released.
    """

    def __init__(self, *, code: str, message: str, next_step: str, exit_code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.code = code
        self.message = message.rstrip(".")
        self.next_step = next_step.rstrip(".")
        self.exit_code = exit_code

    def sentence(self) -> str:
        """The one line for a human."""
        return as_started(f"evergrant: {self.message}; {self.next_step}.")

    def as_json(self) -> str:
        """The one object for a program."""
        told = {"message": as_started(f"{self.message}."), "next": as_started(f"{self.next_step}.")}
        return json.dumps({"error": self.code, **told})


def misuse(*, message: str, next_step: str, code: str = "usage") -> Failure:
    """Make the failure of a wrong command line, file or setting: exit code 2."""
    return Failure(code=code, message=message, next_step=next_step, exit_code=ExitCode.USAGE)


def tell(failure: Failure, *, as_json: bool) -> None:
    """Write the failure to standard error."""
    click.echo(failure.as_json() if as_json else failure.sentence(), err=True)
