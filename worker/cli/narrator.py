"""What a person is told who has started `evergrant up` on a terminal, while the log goes to a file."""

import json
import os
import shutil
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import structlog

from worker.cli.output import hint
from worker.cli.started import as_started
from worker.cli.translations import translate

if TYPE_CHECKING:
    from settings import Settings

Line = Mapping[str, Any]

TAIL_BYTES: Final = 16_384
BAD: Final = {"error", "critical"}
ENGINES: Final = {"postgres": "PostgreSQL", "valkey": "Valkey"}
FIRST_STEPS: Final = (
    "evergrant clients add temple --provider event-temple --client-id ID --client-secret-file FILE",
    "evergrant grants connect customer-1 --client temple",
)
LOOKING: Final = ("evergrant status --watch", "evergrant explain REF")
LOOKS_LATER: Final = "ask again with `evergrant status`"
MOST_ATTENTION: Final = 5

log = structlog.get_logger()


class Narrator:
    """Turns events of the supervisor's log into sentences; `log` is the file that has the whole."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._up = False

    def tell(self, line: Line) -> None:
        """Tell one event, if it concerns whoever looks. A terminal that went away is no reason to end anything."""
        with suppress(OSError):
            for text in self._told(line):
                click.echo(text)

    def _told(self, line: Line) -> Iterator[str]:  # noqa: C901, PLR0912  # one case an event
        match line["event"]:
            case "up":
                self._up = True
                yield f"{_names(line['processes'])} are started; waiting until they are at work …"
            case "ready":
                yield from _ready(self._log)
            case "not_ready":
                waits = f"Not at work yet, after {line['seconds']:.0f} s: {_names(line['waits_for'])}"
                yield _warning(f"{waits}. What they say: {self._log}")
            case "died":
                why = _last_words(self._log, line) or f"see {self._log}"
                ended = f"{line['name']} ended ({_exit(line['exit_code'])})"
                yield _warning(f"{ended} and is started again in {line['again_in_s']:g} s: {why}")
            case "not_started":
                again = f"tried again in {line['again_in_s']:g} s"
                yield _warning(f"{line['name']} did not start ({line['reason']}); {again}.")
            case "database.newer":
                yield _warning(f"The database is of a newer release (revision {line['revision']}); {line['remedy']}.")
            case "home.copied":
                yield _warning(f"Beware of {line['home']}: {line['next']}.")
            case "killed":
                yield _warning(f"Ended by force: {_names(line['processes'])}.")
            case "restarted":
                yield f"{line['name']} runs again."
            case "stopping" if self._up:
                # Over the ^C that a terminal shows.
                yield "\rStopping everything, the database last. A second Ctrl-C kills."
            case "down" if self._up:
                yield (
                    "Everything has ended." if line["clean"] else _warning("Everything has ended, some of it by force.")
                )
            case "stopping" | "down":
                return
            case _ if line.get("level") in BAD | {"warning"}:
                yield _warning(_other(line))


def _warning(text: str) -> str:
    return click.style(hint(text), fg="yellow")


def _other(line: Line) -> str:
    """An event that has no sentence of its own: what it says, and what to do."""
    what = line.get("reason") or " ".join(
        [line["event"], *(f"{name}={value}" for name, value in line.items() if name not in _NOT_TOLD)]
    )
    step = line.get("remedy") or line.get("next")
    return f"{what}; {step}." if step else f"{what}."


_NOT_TOLD: Final = {"event", "level", "at", "process", "remedy", "next"}


def _names(names: list[str]) -> str:
    shown = [ENGINES.get(name, name) for name in names]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _exit(code: int | None) -> str:
    if code is not None and code < 0:
        return f"killed by signal {-code}"
    return f"exit code {code}"


def _ready(log: Path) -> Iterator[str]:
    """That all works, how it is, and what to type next."""
    import settings

    current = settings.current()
    found = _glance(current)
    yield click.style("Evergrant is ready.", fg="green", bold=True)
    yield ""
    yield f"  home  {current.home.expanduser().absolute()}"
    yield f"  log   {log}"
    if "ops_bind" in current.model_fields_set and not current.ops_bind.startswith(("/", "unix:")):
        yield f"  page  http://{current.ops_bind}/"
    if found and found["clients"]:
        yield f"  kept  {_many(found['grants']['active'], 'grant')} of {_many(len(found['clients']), 'client')}"
    yield ""
    if human := [each for each in found["attention"] if each["human"]] if found else []:
        yield click.style("What needs somebody:", bold=True)
        yield from (_folded(f"{hint(each['what'])}  → {hint(each['next'])}") for each in human[:MOST_ATTENTION])
        yield ""
    yield f"Next, in another terminal{_variables()}:"
    yield from (f"  {_on_two_lines(as_started(step))}" for step in (*_first_steps(found), *LOOKING))
    yield ""
    yield "Ctrl-C here ends everything, gracefully."


def _glance(current: "Settings") -> Mapping[str, Any] | None:
    """How it is; None where that cannot be read now: all are at work, and nothing ends for a sentence's sake."""
    from models import database
    from worker.cli import glance

    try:
        with database.transaction() as connection:
            return glance.read(connection, current)
    except Exception as error:
        why = translate(error).message
        log.warning("glance.failed", reason=f"How it is could not be read ({why})", next=LOOKS_LATER, exc_info=True)
        return None


def _first_steps(found: Mapping[str, Any] | None) -> tuple[str, ...]:
    """What somebody types first who has nothing yet."""
    if found is None or found["grants"]["active"]:
        return ()
    return FIRST_STEPS[1:] if found["clients"] else FIRST_STEPS


def _on_two_lines(command: str) -> str:
    """A long command as a shell takes it, where the terminal would break it anywhere."""
    if len(command) + 2 <= shutil.get_terminal_size().columns:
        return command
    return command.replace(" --client-id", " \\\n      --client-id")


def _variables() -> str:
    """Which variables the other terminal needs, so that commands find this home or the same engines."""
    needed = [
        name for name in ("EVERGRANT_HOME", "EVERGRANT_DATABASE_URL", "EVERGRANT_BROKER_URL") if name in os.environ
    ]
    return f", with the same {' and '.join(needed)}" if needed else ""


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _folded(text: str) -> str:
    width = max(shutil.get_terminal_size().columns, 40)
    return textwrap.fill(text, width, initial_indent="! ", subsequent_indent="  ")


def _last_words(log: Path, died: Line) -> str | None:
    """What it may have said of why it ends: whoever is killed says nothing, and an engine's own lines are no words."""
    if (died["exit_code"] or 0) < 0 or died["name"] in ENGINES:
        return None
    return complaint(log, died["name"], behind=died["log_from"])


def complaint(log: Path, name: str, *, behind: int) -> str | None:
    """The last that a process said of why it ends: a command's sentence, or an error of its own in the log.

    `behind`: how many bytes of the log are older than the process.
    """
    lines: list[str] = []
    with suppress(OSError), log.open("rb") as file:  # it may have been removed
        size = file.seek(0, os.SEEK_END)
        # Shorter than it was: its lines have moved since.
        file.seek(max(behind if behind <= size else 0, size - TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
    kind = name.partition("-")[0]
    return next((said for line in reversed(lines) if (said := _complaint(line, kind))), None)


def _complaint(line: str, kind: str) -> str | None:
    if line.startswith("evergrant: "):
        return line.removeprefix("evergrant: ")
    try:
        told = json.loads(line)
    except ValueError:
        return None
    if not isinstance(told, dict) or told.get("level") not in BAD or told.get("process") != kind:
        return None
    return str(told.get("reason") or told.get("event"))
