"""The arguments that several commands share, and how they are read."""

import os
import re
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from models.states.event import EventType
from worker.cli import audited
from worker.cli.failures import Failure, misuse

LARGEST_SECRET = 64 * 1024
LARGEST_REF = 255
LARGEST_LABEL = 255  # characters of its key
LARGEST_VALUE = 1000  # of each of its values; what providers give, such as an address, may be as long

DEFAULT = "default"  # what there is where nothing was said

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")  # of a client, or of an application

UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}


class Duration(click.ParamType[timedelta, str | timedelta]):
    """A length of time: `90s`, `10m`, `2h`, `7d`; a bare number is seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Read the text; a timedelta passes through."""
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)\s*([smhd]?)", str(value).strip())
        if found is None:
            self.fail(f"'{value}' is not a length of time such as 90s, 10m, 2h or 7d", param, ctx)
        return float(found[1]) * UNITS[found[2] or "s"]


class Address(click.ParamType[str, str]):
    """Where a user's browser is sent: a whole URL, be it of an app on the device (RFC 8252 §7.1)."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See that it leads somewhere, and runs nothing: a browser obeys `javascript:` as well."""
        text = str(value)
        parts = urlsplit(text)
        of_the_web = parts.scheme in ("https", "http") and parts.hostname
        of_an_app = "." in parts.scheme and parts.path  # a domain of its maker's, turned round
        if not (of_the_web or of_an_app) or parts.fragment or not text.isprintable() or " " in text:
            self.fail(f"{text!r} is not a URL such as https://app.example/callback, without a fragment", param, ctx)
        return text


class Label(click.ParamType[tuple[str, str], str]):
    """`key=value`."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Read the text."""
        key, equals, text = str(value).partition("=")
        if not equals or not key.strip():
            self.fail(f"{value!r} is not of the form key=value", param, ctx)
        for part, most in ((key.strip(), LARGEST_LABEL), (text.strip(), LARGEST_VALUE)):
            if len(part) > most or not part.isprintable():
                self.fail(f"a label is not printable text of at most {most} characters", param, ctx)
        return key.strip(), text.strip()


class Limit(click.ParamType[int | str, int | str]):
    """A whole number, or `default`."""

    name = "limit"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """Read the text."""
        if value == DEFAULT:
            return DEFAULT
        if not re.fullmatch(r"\d{1,9}", str(value).strip(), re.ASCII):
            self.fail(f"{value!r} is no whole number from 0 on, nor {DEFAULT!r}", param, ctx)
        return int(value)


client_option = click.option("--client", metavar="NAME", help="The client; unneeded where the ref is unique.")
ref_argument = click.argument("ref")
refs_argument = click.argument("refs", metavar="REF...", nargs=-1, required=True)
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
label_option = click.option(
    "--label", "labels", type=Label(), multiple=True, metavar="KEY=VALUE", help="A label; may be repeated."
)

wait_option = click.option("--wait", is_flag=True, help="Wait until it is done.")


def timeout_option(default: str) -> Callable[[Any], Any]:
    """`--timeout`: how long `--wait` waits before the command ends with 75."""
    return click.option(
        "--timeout", type=Duration(), default=default, show_default=True, help="How long to wait at most."
    )


def types_option(told: str) -> Callable[[Any], Any]:
    """`--type`: which events, each by its name."""
    names = click.Choice([*EventType.meanings()])
    return click.option("--type", "types", type=names, metavar="TYPE", multiple=True, help=told)


def limit_option(told: str) -> Callable[[Any], Any]:
    """`--limit`: how many rows of a list that goes on for ever, a hundred where nothing is said."""
    return click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help=told)


def read_refs(given: tuple[str, ...]) -> list[str]:
    """The refs of a command line in order, each once; `-` stands for the lines of standard input.

    Raises:
        Failure: there is none, or one cannot be a ref.

    """
    refs: dict[str, None] = {}
    for item in given:
        lines = sys.stdin.read().splitlines() if item == "-" else [item]
        for line in filter(None, map(str.strip, lines)):
            refs[line] = None
    if not refs:
        raise misuse(message="No ref was given", next_step="name one or more")
    for ref in refs:
        check_ref(ref)
    if "-" in given:
        audited.of_refs(list(refs))
    return list(refs)


def ref_fault(ref: str) -> str | None:
    """Why a text cannot be a ref, or None."""
    if not ref.strip():
        return "ref is empty"
    if len(ref) > LARGEST_REF:
        return f"ref is longer than {LARGEST_REF} characters"
    if not ref.isprintable() or ref != ref.strip():
        return "ref has a control character or a space at its ends"
    return None


def check_ref(ref: str) -> str:
    """Return the ref.

    Raises:
        Failure: it cannot be one.

    """
    fault = ref_fault(ref)
    if fault:
        raise misuse(message=f"This cannot be a ref: {fault}", next_step="correct it")
    return ref


def port_fault(error: OSError) -> str:
    """Why a port cannot be listened on; asyncio puts a sentence of its own around the system's."""
    return os.strerror(error.errno) if error.errno else str(error)


def grouped(labels: tuple[tuple[str, str], ...]) -> dict[str, list[str]]:
    """Labels by key, the values of each in the order given and once."""
    found: dict[str, list[str]] = {}
    for key, value in labels:
        values = found.setdefault(key, [])
        if value and value not in values:
            values.append(value)
    return found


def read_secret(path: str, *, what: str) -> str:
    """A secret from a file, or from standard input for `-`, without the newline at its end; a terminal is not shown it.

    Raises:
        Failure: the file cannot be read, is empty, too large, or not text on one line.

    """
    secret = (_typed(what) if _is_typed(path) else _text(path, what=what)).rstrip("\r\n")
    if not secret or not secret.isprintable():
        fault = "not one line of text" if secret else "empty"
        raise _bad_secret(message=f"The {what} in {_name(path)} is {fault}", next_step="put the secret alone into it")
    return secret


def read_pem(path: str, *, what: str) -> str:
    """Text of several lines from a file, or from standard input for `-`; a terminal is not shown it.

    Raises:
        Failure: the file cannot be read, is too large, or not text.

    """
    if not _is_typed(path):
        return _text(path, what=what)
    click.echo(f"{_capitalised(what)}, and then Ctrl-D on a line of its own: ", err=True)
    with unseen():
        return _text(path, what=what)


def _is_typed(path: str) -> bool:
    return path == "-" and sys.stdin.isatty()


def _typed(what: str) -> str:
    """One line from whoever sits there; what is empty is told by who asked for it, as that of a pipe is."""
    told = _capitalised(what)
    return str(click.prompt(told, default="", show_default=False, hide_input=True, err=True))


def _text(path: str, *, what: str) -> str:
    try:
        raw = _bytes(path)
        if len(raw) > LARGEST_SECRET:
            raise _bad_secret(
                message=f"The {what} in {_name(path)} is larger than 64 KiB", next_step="name the right file"
            )
        return raw.decode()
    except OSError as error:
        raise _bad_secret(
            message=f"The {what} cannot be read from {_name(path)}: {error.strerror}",
            next_step="name a file that exists and that you may read, or - for standard input",
        ) from None
    except UnicodeDecodeError:
        raise _bad_secret(
            message=f"The {what} in {_name(path)} is not UTF-8 text", next_step="name the right file"
        ) from None


def _bytes(path: str) -> bytes:
    """One byte more than the limit at most, so that a huge file is noticed and not loaded."""
    if path == "-":
        return sys.stdin.buffer.read(LARGEST_SECRET + 1)
    with Path(path).open("rb") as file:
        return file.read(LARGEST_SECRET + 1)


def _capitalised(what: str) -> str:
    return what[0].upper() + what[1:]


@contextmanager
def unseen() -> Iterator[None]:
    """What is typed meanwhile at the terminal that is standard input is not shown."""
    shown = termios.tcgetattr(sys.stdin)
    hidden = [*shown[:3], shown[3] & ~termios.ECHO, *shown[4:]]
    try:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, hidden)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, shown)


def _bad_secret(*, message: str, next_step: str) -> Failure:
    return misuse(message=message, next_step=next_step, code="secret_file")


def _name(path: str) -> str:
    return "standard input" if path == "-" else path


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something that cannot be undone; without a terminal `--yes` is needed.

    Raises:
        Failure: there is nobody to ask.
        click.Abort: the answer was no.

    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise misuse(message=f"{question} Nobody can be asked here", next_step="add --yes to do it", code="needs_yes")
    click.confirm(question, abort=True, err=True)
