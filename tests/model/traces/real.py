"""Traces of real runs: the crash loop's processes, and a log of every change of a row, kept by triggers.

A row's changes stand in the log in the order of their commits, for each holds the row's lock until then; what was
rolled back is not there. Processes say themselves what they send, journal and mark. All is on one clock.
"""

import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from models import database
from tests.crashes.evidence import Evidence
from tests.crashes.fleet import PROFILES, Fleet
from tests.crashes.loop import FROZEN_FOR, Loop, Report
from tests.crashes.points import POINTS
from tests.crashes.processes import Child, Processes
from tests.crashes.trace import Line
from tests.model.traces.collected import Collected
from tests.model.traces.reading import Reading
from tests.model.traces.window import Window

LOG = """
create schema traces;
create table traces.seen (
    number bigint generated always as identity, at timestamptz not null, tx text not null, relation text not null,
    before jsonb, after jsonb
);
create function traces.note() returns trigger language plpgsql as $$
begin
    insert into traces.seen (at, tx, relation, before, after) values
        (clock_timestamp(), pg_current_xact_id()::text, tg_table_name, to_jsonb(old), to_jsonb(new));
    return null;
end $$;
create trigger seen after insert or update or delete on evergrant.grants
    for each row execute function traces.note();
create trigger seen after insert or update or delete on evergrant.former_tokens
    for each row execute function traces.note();
create trigger seen after insert on evergrant.revocations
    for each row execute function traces.note();
create trigger seen after update on evergrant.journals
    for each row execute function traces.note();
"""


@dataclass
class Noted(Evidence):
    """Evidence that keeps every line."""

    lines: list[tuple[Child, Line]] = field(default_factory=list)

    def note(self, child: Child, line: Line) -> None:
        """Take in one line of a trace."""
        self.lines.append((child, line))
        super().note(child, line)


class Asked(Fleet):
    """A fleet that notes when a request for a grant's end is sure to be seen by everybody."""

    def __init__(self, folder: Path, **more: Any) -> None:
        super().__init__(folder, **more)
        self.asked: dict[str, datetime] = {}

    def request_revocation(self, profile: str, ref: str) -> None:
        """Ask for a grant's end as another application does."""
        super().request_revocation(profile, ref)
        self.asked[ref] = datetime.now(UTC)


def strike(rounds: int, *, profiles: Sequence[str], seed: int) -> list[tuple[Window, list[str]]]:
    """Run the crash loop for so many strikes and give what was seen; what it calls wrong is its own matter."""
    chance, report = random.Random(seed), Report(seed)
    steps = [(point.name, act) for point in POINTS.values() for act in point.acts]
    with (
        tempfile.TemporaryDirectory(prefix="evergrant-traces-") as folder,
        Asked(Path(folder), profiles=profiles, seed=seed) as fleet,
    ):
        with database.transaction() as connection:
            connection.exec_driver_sql(LOG)
        with Processes(fleet.home, chance, frozen_for=FROZEN_FOR) as processes:
            noted = Noted()
            Loop(fleet, processes, chance, steps, report, evidence=noted, tell=lambda _: None).run(rounds, epoch=120)
        return Reading(fleet, fleet.asked, noted.lines).windows()


def of_crash_loop(rounds: int, *, profiles: Sequence[str], seed: int = 1) -> list[Collected]:
    """Windows of the crash loop, by profile: of those that it has a provider for."""
    found: dict[str, Collected] = {}
    for window, pairs in strike(rounds, profiles=[each for each in PROFILES if each in profiles], seed=seed):
        found.setdefault(window.profile, Collected("crash loop", window.profile)).add(window, pairs)
    return list(found.values())
