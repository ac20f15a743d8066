"""Evergrant as it ships: beats and workers, one or more, journal with fsync, logs and sealing on."""

import json

from bench import stage as stages
from bench.contestants.contestant import Contestant, ref_of
from bench.provider import refresh_token
from bench.stage import Provider, Stage
from models.sealing.vault import Vault
from settings import current

CLIENT = "bench"


class Evergrant(Contestant):
    """`evergrant worker` and `evergrant beat`, as `evergrant up` runs them."""

    def __init__(
        self,
        stage: Stage,
        provider: Provider,
        count: int,
        *,
        workers: int = 1,
        beats: int = 1,
        rotation: str = "on_use",
        trusts: str | None = None,
    ) -> None:
        """`trusts`: the provider is asked by TLS, and this is its certificate."""
        super().__init__(stage, provider, count)
        self.trusts = trusts
        self.workers = [f"worker-{number}" for number in range(1, workers + 1)]
        self.beats = [f"beat-{number}" for number in range(1, beats + 1)]
        self.rotation = rotation
        several = f", {beats} beats" if beats > 1 else ""
        self.name = f"Evergrant, {workers} worker{'s' * (workers > 1)}{several}, {rotation}"

    def prepare(self) -> None:
        stages.register(
            self.stage,
            self.provider,
            name=CLIENT,
            rotation=self.rotation,
            options=("--burst", "2000"),
            tls=self.trusts is not None,
        )
        self.pause(paused=True)
        lines = (json.dumps({"ref": ref_of(i), "refresh_token": refresh_token(i, 0)}) for i in range(self.count))
        self.stage.command("grants", "import", "-", "--client", CLIENT, stdin="\n".join(lines))

    def pause(self, *, paused: bool) -> None:
        """As `clients pause` and `clients resume` do, without the second that a command takes to start."""
        self.stage.sql("update evergrant.valves set paused_by_operator = %s", [paused])

    def start(self) -> None:
        for name in self.workers:
            self.stage.python(name, "worker.cli", "worker", env={"SSL_CERT_FILE": self.trusts} if self.trusts else None)
        for name in self.beats:
            self.stage.python(name, "worker.cli", "beat")
        for name in self.workers:
            self.stage.wait_said(name, "ready.")
        for name in self.beats:
            self.stage.wait_said(name, "beat: Starting")

    def make_due(self) -> None:
        self.pause(paused=True)
        self.stage.sql("update evergrant.grants set due_at = clock_timestamp() - interval '1 second'")
        self.stage.sql("vacuum analyze evergrant.grants, evergrant.former_tokens")

    def begin(self) -> None:
        self.pause(paused=False)

    def stored(self) -> int:
        rows = self.stage.sql("select count(*) as n from evergrant.grants where due_at > clock_timestamp() + '10 min'")
        return int(rows[0]["n"])

    def tokens(self) -> dict[int, str]:
        vault = Vault.from_settings(current())
        rows = self.stage.sql("select id, ref, sealed_refresh_token as sealed from evergrant.grants")
        return {
            int(row["ref"][-7:]): vault.open(row["sealed"], table="grants", row_id=row["id"], purpose="refresh")
            for row in rows
        }

    def parts(self) -> dict[str, list[int]]:
        return {"workers": self.stage.pids(*self.workers), "beat": self.stage.pids(*self.beats)}
