"""Sampling: what an application does all day, reading access tokens from the view and presenting them at the API."""

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import psycopg

from tests.acceptance.installation import Installation
from tests.acceptance.providers import Provider

LEAST_SECONDS_LEFT = 1.0
"""A token that expires on the way to the API proves nothing."""
PATIENCE_SECONDS = 3.0
"""How long after a 401 a newer token may take to appear: where the old one dies at once, it may have just done so."""


@dataclass
class Samples:
    """What the API answered, by status; `raced`: 401, and 200 with the newer token that had just arrived."""

    answers: Counter[str] = field(default_factory=Counter)
    refused: list[dict[str, Any]] = field(default_factory=list)

    @property
    def served(self) -> int:
        return self.answers["200"]


class Sampler:
    """Presents access tokens of random grants of a client, over and over, in a thread."""

    def __init__(self, installation: Installation, client: str, provider: Provider, *, every: float = 0.2) -> None:
        self.samples = Samples()
        self._client = client
        self._installation = installation
        self._provider = provider
        self._every = every
        self._ended = threading.Event()
        self._random = random.Random(1)
        self._thread = threading.Thread(target=self._run, name="sampler")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(60)

    def _run(self) -> None:
        while not self._ended.wait(self._every):
            try:
                self._sample()
            except psycopg.OperationalError:
                self.samples.answers["database away"] += 1
            except OSError as error:
                self.samples.answers[type(error).__name__] += 1

    def _sample(self) -> None:
        begun = time.monotonic()
        rows = self._handed_out()
        if not rows:
            self.samples.answers["nothing handed out"] += 1
            return
        row = self._random.choice(rows)
        status = self._present(row)
        if status == 401 and time.monotonic() - begun >= row["left"]:
            self.samples.answers["ended on its way"] += 1  # the machine is so busy that its seconds went by
            return
        if status == 401 and self._newer_serves(row):
            self.samples.answers["raced"] += 1
            return
        self.samples.answers[str(status)] += 1
        if status != 200:
            self.samples.refused.append(
                {name: row[name] for name in ("ref", "generation", "left")} | {"at": time.time()}
            )

    def _newer_serves(self, old: dict[str, Any]) -> bool:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            newer = [row for row in self._handed_out(old["ref"]) if row["generation"] > old["generation"]]
            if newer:
                return self._present(newer[0]) == 200
            time.sleep(0.05)
        return False

    def _present(self, row: dict[str, Any]) -> int:
        return self._provider.opens(self._installation.open(row["grant_id"], row["sealed_access_token"]))

    def _handed_out(self, ref: str = "") -> list[dict[str, Any]]:
        statement = """
            select grant_id, ref, generation, sealed_access_token,
                extract(epoch from access_expires_at - clock_timestamp())::float as left
            from evergrant.access_tokens
            where sealed_access_token is not null and client = %s and %s in ('', ref)
        """
        return [
            row for row in self._installation.rows(statement, [self._client, ref]) if row["left"] >= LEAST_SECONDS_LEFT
        ]
