"""The source of an import: a file, or a pipe that somebody writes to."""

import os
import threading
from datetime import timedelta
from importlib import import_module
from pathlib import Path

import pytest

from worker.cli.failures import Failure

importing = import_module("worker.cli.grants.import_")


def test_a_pipe_that_nobody_writes_to_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "A_WRITER_COMES", timedelta(0))
    pipe = tmp_path / "grants.jsonl"
    os.mkfifo(pipe)

    with pytest.raises(Failure, match="a pipe that nobody writes to"), importing._opened(str(pipe)):
        pass


def test_a_pipe_that_somebody_writes_to_is_read_to_its_end(tmp_path: Path) -> None:
    pipe = tmp_path / "grants.jsonl"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(b"line\n" * 50_000))
    writer.start()

    with importing._opened(str(pipe)) as source:
        assert source.read() == b"line\n" * 50_000
    writer.join()
