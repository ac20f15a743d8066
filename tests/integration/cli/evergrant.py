"""Run a command of the CLI in this process; what it printed comes back with its exit code."""

import io
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

import settings
from worker.cli import run

ROOT = Path(__file__).resolve().parents[3]
# A process that says that it lives, and which keys it holds.
ALIVE = """
insert into evergrant.processes (id, kind, host, pid, environment, refresh_key_ids, access_key_ids, consumed_at)
values (gen_random_uuid(), :kind, 'box', :pid, :environment, cast(:keys as text[]), cast(:keys as text[]),
    clock_timestamp())
"""


@dataclass
class Done:
    """How one command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object printed."""
        found: dict[str, Any] = json.loads(self.out)
        return found

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The JSON Lines printed."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> str:
        """The code of the failure that `--json` told."""
        return str(json.loads(self.err.splitlines()[-1])["error"])


class _Stdin(io.TextIOWrapper):
    """Standard input without a terminal, as text and as bytes."""

    def __init__(self, content: str) -> None:
        super().__init__(io.BytesIO(content.encode("utf-8", "surrogateescape")), encoding="utf-8")


class Evergrant:
    """The command line."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def __call__(self, *words: str, stdin: str = "") -> Done:
        self._monkeypatch.setattr("sys.stdin", _Stdin(stdin))
        self._capsys.readouterr()
        code = run(list(words))
        told = self._capsys.readouterr()
        return Done(code, told.out, told.err)

    def take_in(self, *refs: str, client: str = "temple", left: float = 7000, options: str = "") -> None:
        """Import a grant for each ref, with an access token that lives `left` more seconds of 7200."""
        created_at = time.time() - (7200 - left)
        lines = [
            {"ref": ref, "refresh_token": f"rt-{client}-{ref}", "access_token": f"at-{client}-{ref}"}
            | {"expires_in": 7200, "created_at": created_at, "labels": {"org": ref}}
            for ref in refs
        ]
        stdin = "".join(json.dumps(line) + "\n" for line in lines)
        done = self("grants", "import", "-", "--client", client, *options.split(), stdin=stdin)
        assert done.code == 0, done.err


def use_actor(name: str) -> None:
    """Work under this name, as with EVERGRANT_ACTOR."""
    changed = settings.current().model_copy(update={"actor": name})
    changed.__dict__.pop("who", None)  # a copy takes over what was cached
    settings.adopt(changed)


def environment_of(found: settings.Settings) -> dict[str, str]:
    """These settings as the environment of a process."""
    values = {
        name: value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in found.model_dump(exclude_unset=True).items()
        if value is not None
    }
    return {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]} | {
        f"EVERGRANT_{name.upper()}": value for name, value in values.items()
    }
