from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from models.sealing.vault import KeyRing, Vault
from tasks.journal import Entry, Journal

NOON = datetime(2025, 11, 24, 12, tzinfo=UTC)
KEYS = KeyRing.generate_line("k1")


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **delta: float) -> None:
        self.now += timedelta(**delta)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def vault() -> Vault:
    return Vault(KeyRing.parse(KEYS), None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journals"


@pytest.fixture
def an_entry() -> Callable[..., Entry]:
    def make(number: int = 0, **changes: object) -> Entry:
        values: dict[str, object] = {
            "kind": "refresh",
            "grant_id": f"00000000-0000-4000-8000-{number:012}",
            "client": "event-temple",
            "ref": f"customer-{number}",
            "labels": {"org": ["8f2", "901"]},
            "generation": 1,
            "fingerprint": b"\x02k1" + bytes(16),
            "credentials_no": 1,
            "started_at": NOON,
            "received_at": NOON + timedelta(milliseconds=number),
            "status": 200,
            "body": b'{"access_token": "at-%d", "refresh_token": "rt-%d"}' % (number, number),
        }
        return Entry(**{**values, **changes})  # type: ignore[arg-type]

    return make


@pytest.fixture
def journal(folder: Path, vault: Vault, clock: Clock) -> Iterator[Journal]:
    journal = Journal.open(folder, 7, vault=vault, clock=clock)
    yield journal
    journal.close()
