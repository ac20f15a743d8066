"""SPIN: makes a verifier of the model and its switches, runs it, and reads what it says."""

import os
import re
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MODEL = Path(__file__).parent / "promela"
MEGABYTES_AT_MOST = 2000
DEEPEST = 200_000  # steps of one path; a path that is longer is told as a search that was cut off
SECONDS_AT_MOST = 900
TOOLS = ("spin", "gcc")


@dataclass(frozen=True)
class Kind:
    """A kind of search: what the verifier is made with, and run with."""

    made_with: tuple[str, ...]
    run_with: tuple[str, ...] = ()


SAFETY = Kind(("-DSAFETY",))
SHORTEST = Kind(("-DSAFETY", "-DREACH"), ("-i",))
PROGRESS = Kind(("-DNFAIR=4",), ("-a", "-f"))
CUT_OFF = ("max search depth too small", "Search not completed", "out of memory")


class Missing(Exception):
    """SPIN or a compiler is not there."""

    def __init__(self, tools: Sequence[str]) -> None:
        super().__init__(
            f"{' and '.join(tools)} not found: the model is checked by SPIN and a C compiler, which are had with"
            " `apt-get install spin gcc` on Debian and Ubuntu, or from https://spinroot.com; nothing was checked"
        )


class Broken(Exception):
    """SPIN, the compiler or the verifier failed: that says nothing about the model."""


@dataclass(frozen=True)
class Found:
    """What a search found: `violated` is empty where all held, and the search was exhaustive; seconds are of CPU."""

    states: int
    seconds: float
    megabytes: float
    violated: str = ""
    story: tuple[str, ...] = ()


def missing() -> list[str]:
    """Those tools that are not there."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def check_tools() -> None:
    """See that they are there.

    Raises:
        Missing: one is not.

    """
    if lacking := missing():
        raise Missing(lacking)


def search(switches: Sequence[str], *, progress: bool = False, shortest: bool = False) -> Found:
    """Look at every state of the model with these switches; `shortest`: seek a short way to what is violated.

    Raises:
        Missing: a tool is not there.
        Broken: a tool failed, or the search was cut off.

    """
    kind = PROGRESS if progress else SHORTEST if shortest else SAFETY
    with verifier(switches, kind.made_with) as folder:
        begun = _seconds()
        output = run(folder, ["nice", "./pan", f"-m{DEEPEST}", *kind.run_with])
        seconds = _seconds() - begun
        violated: str = ""
        story: tuple[str, ...] = ()
        if (folder / "evergrant.pml.trail").exists():
            violated, story = _told(run(folder, ["spin", *switches, "-t", "-p", "-B", "evergrant.pml"]))
        return read(output, seconds=seconds, violated=violated, story=story)


def _seconds() -> float:
    """CPU that tools have used, however busy the machine is."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def verifier(switches: Sequence[str], made_with: Sequence[str]) -> Iterator[Path]:
    """A folder with a verifier of the model with these switches.

    Raises:
        Missing: a tool is not there.
        Broken: a tool failed.

    """
    check_tools()
    with tempfile.TemporaryDirectory(prefix="evergrant-model-") as made:
        folder = Path(made)
        shutil.copytree(MODEL, folder, dirs_exist_ok=True)
        run(folder, ["spin", *switches, "-a", "evergrant.pml"])
        limits = ("-DCOLLAPSE", f"-DMEMLIM={MEGABYTES_AT_MOST}")
        run(folder, ["gcc", "-O1", "-w", *made_with, *limits, "-o", "pan", "pan.c"])
        yield folder


def run(folder: Path, command: Sequence[str]) -> str:
    """What a tool says.

    Raises:
        Broken: it failed, or took too long.

    """
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=SECONDS_AT_MOST,
        )
    except subprocess.TimeoutExpired as error:
        message = f"{command[0]} took longer than {SECONDS_AT_MOST} s"
        raise Broken(message) from error
    if done.returncode != 0:
        message = f"{command[0]} failed: {done.stdout.strip()[-500:]}"
        raise Broken(message)
    return done.stdout


def read(output: str, *, seconds: float, violated: str = "", story: Sequence[str] = ()) -> Found:
    """Read what a verifier wrote at its end.

    Raises:
        Broken: it says neither that all held in a search that was exhaustive nor what was violated.

    """
    errors = re.search(r"errors: (\d+)", output)
    states = re.search(r"^\s*(\d+) states, stored", output, re.MULTILINE)
    megabytes = re.search(r"([\d.]+)\s+total actual memory usage", output)
    if errors is None or states is None or megabytes is None:
        message = f"the verifier did not end well: {output.strip()[-500:]}"
        raise Broken(message)
    is_violated = errors[1] != "0"
    if is_violated and not violated:
        message = f"the verifier found an error, and no trail tells which: {output.strip()[:500]}"
        raise Broken(message)
    if not is_violated and (cut := [words for words in CUT_OFF if words in output]):
        message = f"the search was cut off ({', '.join(cut)}), so it shows nothing"
        raise Broken(message)
    return Found(int(states[1]), seconds, float(megabytes[1]), violated if is_violated else "", tuple(story))


STEP = re.compile(r"^\s*(\d+):\s+proc\s+(\d+) \((\S+?):\d+\) (\S+\.pml):(\d+) ")
FAILED = re.compile(r"^spin: (\S+\.pml):(\d+), Error: assertion violated", re.MULTILINE)
CYCLE = "START OF CYCLE"
ACTORS = ("worker.pml", "world.pml")


def _told(trail: str) -> tuple[str, tuple[str, ...]]:
    """Which property a trail violates, and its steps, one a line."""
    lines = {path.name: path.read_text(encoding="utf-8").splitlines() for path in MODEL.glob("*.pml")}
    story: list[str] = []
    last = ""
    for row in trail.splitlines():
        if CYCLE in row:
            story.append("from here on for ever:")
        step = STEP.match(row)
        if step is None or step[1] == last or step[4] not in ACTORS:
            continue
        last = step[1]
        story.append(f"{_who(step[3], int(step[2]))} {_what(lines[step[4]][int(step[5]) - 1])}")
    failed = FAILED.search(trail)
    violated = _inline_at(lines[failed[1]], int(failed[2])) if failed else "gets_on" if CYCLE in trail else ""
    return violated, tuple(story)


def _who(process: str, number: int) -> str:
    return f"{process} {number - 1}" if process == "worker" else process


def _what(line: str) -> str:
    """What a step is called: the comment at its line."""
    comment = re.search(r"/\* (.*?) \*/", line)
    return comment[1] if comment else line.strip()


def _inline_at(lines: Sequence[str], number: int) -> str:
    names = [match[1] for line in lines[:number] if (match := re.match(r"inline (\w+)\(", line))]
    return names[-1] if names else "?"
