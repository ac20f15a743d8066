"""The loop: epochs of strikes, each followed by rest and a verdict."""

import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from tests.crashes.evidence import Evidence
from tests.crashes.fleet import LEASE, Fleet, Member
from tests.crashes.points import FULL_JOURNAL, NEEDS_A_FULL_JOURNAL, POINTS, Act, Process
from tests.crashes.processes import Child, Processes
from tests.crashes.strike import Arm
from tests.crashes.verdict import judge, lost_refs

FROZEN_FOR: Final = LEASE + 0.8
WORKERS: Final = 4  # armed at a time; one more is never struck while an epoch lasts
GRANTS: Final = 12  # of each client
REST: Final = 90.0  # seconds after which what has not come to rest never will
TICK: Final = 0.02

Step = tuple[str, Act]

UNRESTED: Final = """
select g.ref, g.status, g.due_at - clock_timestamp() as due_in, g.claimed_at, g.started_at, g.doubt_since,
    g.doubt_journals, g.suspect_at, g.failures, g.last_error_code, g.access_expires_at - clock_timestamp() as fresh_for,
    r.status as revocation
from evergrant.grants g left join evergrant.revocations r on r.grant_id = g.id
where g.client_id = %(client_id)s and (
    g.status = 'active' and (g.started_at is not null and g.due_at < clock_timestamp() or g.doubt_since is not null
        or g.suspect_at is not null or g.failures > 0 or g.access_expires_at < clock_timestamp())
    or r.status in ('queued', 'waiting')
)
"""
CONNECTED: Final = """
select ref from evergrant.grants
where client_id = %(client_id)s and ref = any (%(refs)s) and not ref = any (%(ended)s)
"""
# Journals that nobody has drained yet, beside those of the workers that are alive.
UNDRAINED: Final = """
select id, host, process from evergrant.journals where drained_at is null and not process = any (%(alive)s)
"""
# An orphan: somebody's, and nobody says when it is due again.
ORPHANS: Final = """
select g.ref, g.due_at, g.claimed_at, g.started_at from evergrant.grants g
join evergrant.clients c on c.id = g.client_id
where g.status in ('active', 'revoking') and (
    -- Claimed: its dispatch lease of 3 s, or the attempt's. One of 1970 stands for an attempt beside which a late token
    -- set was stored: until that one's lease is over.
    g.claimed_at > 'epoch' and g.due_at > g.claimed_at + greatest(interval '3 s', c.attempt_lease)
    or g.claimed_at = 'epoch' and g.due_at > clock_timestamp() + c.attempt_lease
    or g.claimed_at is null and g.started_at is not null and g.due_at > g.started_at + c.attempt_lease
)
"""


@dataclass
class Report:
    """What all rounds came to."""

    seed: int
    rounds: Counter[Step] = field(default_factory=Counter)
    judged: int = 0  # of these rounds
    missed: Counter[Step] = field(default_factory=Counter)
    losses: Counter[tuple[str, str]] = field(default_factory=Counter)
    evidences: Counter[str] = field(default_factory=Counter)
    wrongs: list[str] = field(default_factory=list)
    unborn: int = 0
    requests: int = 0
    frozen_requests: int = 0
    grants: int = 0
    longest_rest: float = 0.0
    seconds: float = 0.0


@dataclass
class Loop:
    """Strikes processes of one fleet until enough rounds are over."""

    fleet: Fleet
    processes: Processes
    chance: random.Random
    steps: list[Step]
    report: Report
    tell: Callable[[str], object] = field(default=partial(print, flush=True))
    evidence: Evidence = field(default_factory=Evidence)
    _decks: dict[Process, deque[Step]] = field(default_factory=dict)
    _first: deque[Step] = field(default_factory=deque)  # before the deck
    _later: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    _revoked: dict[str, list[str]] = field(default_factory=dict)
    _exchanged: dict[str, list[str]] = field(default_factory=dict)
    _steady: list[Child] = field(default_factory=list)

    def run(self, rounds: int, *, epoch: int) -> None:
        """Strike `rounds` times, with a verdict every `epoch` strikes; stops at the first epoch with a wrong."""
        begun = time.monotonic()
        self._decks = {process: deque() for process in Process}
        while self.report.rounds.total() < rounds and not self.report.wrongs:
            self._epoch(min(epoch, rounds - self.report.rounds.total()))
            self.report.seconds = time.monotonic() - begun
            self.tell(
                f"{self.report.rounds.total()} rounds, {self.report.requests} requests,"
                f" {self.report.losses.total()} lost, {len(self.report.wrongs)} wrong,"
                f" {self.report.seconds:.0f} s"
            )

    # One epoch

    def _epoch(self, rounds: int) -> None:
        self._replenish()
        self._steady = [self.processes.start(Process.WORKER), self.processes.start(Process.BEAT)]
        until = self.report.rounds.total() + rounds
        while self.report.rounds.total() < until and not self.report.wrongs:
            self._fill()
            self._tick()
        self._rest()
        self._judge()
        self.report.judged = self.report.rounds.total()
        self.evidence.forget()

    def _replenish(self) -> None:
        for member in self.fleet.members.values():
            fresh = member.mint(max(0, GRANTS - len(member.refs)))
            member.refs.update(fresh)
            self.report.grants += len(fresh)
            self._revoked[member.profile], self._exchanged[member.profile] = [], []
            # Codes are exchanged faster than grants are revoked.
            self._revoke(member, sorted(member.refs)[2 * GRANTS :])

    def _tick(self) -> None:
        time.sleep(TICK)
        for child, line in self.processes.look():
            self.evidence.note(child, line)
            match line["what"]:
                case "ready":
                    self._is_ready(child)
                case "strike":
                    self.report.rounds[line["point"], Act(line["act"])] += 1
                case "gone":
                    self._gone(child)
        now = time.monotonic()
        for at, act in [each for each in self._later if each[0] <= now]:
            self._later.remove((at, act))
            act()

    def _gone(self, child: Child) -> None:
        if child.exit_code == 1:
            log = self.fleet.home / "logs" / f"{child.name}.log"
            self.report.wrongs.append(f"{child.name} has ended by itself: {log.read_text(errors='replace')[-2000:]}")
        if child.arm and child.struck_at is None:
            self.report.missed[child.arm.point, child.arm.act] += 1

    # Who is struck

    def _fill(self) -> None:
        """Let there be armed processes of each kind."""
        armed = Counter(child.kind for child in self.processes.children.values() if child.arm and child.alive)
        for kind, most in ((Process.WORKER, WORKERS), (Process.BEAT, 1), (Process.EXCHANGE, 1)):
            for _ in range(most - armed[kind]):
                if step := self._draw(kind):
                    self._start(kind, step)

    def _start(self, kind: Process, step: Step) -> None:
        point, act = step
        often = kind is Process.WORKER and point.split(".")[0] not in ("open", "drain", "shred", "revoke", "confirm")
        arm = Arm(point, act, self.chance.randint(1, 3) if often else 1)
        if kind is not Process.EXCHANGE:
            self.processes.start(kind, arm)
            return
        member = self.chance.choice(list(self.fleet.members.values()))
        ref = f"{member.profile}-connected-{member.minted}"
        member.minted += 1
        self._exchanged[member.profile].append(ref)
        self.processes.start(kind, arm, client_id=member.client_id, ref=ref)

    def _draw(self, kind: Process) -> Step | None:
        """The next step of this kind's deck; a journal is filled before it is drained."""
        if kind is Process.WORKER and self._first:
            if any(child.arm == Arm(*FULL_JOURNAL) and child.alive for child in self.processes.children.values()):
                return None
            return self._first.popleft()
        deck = self._decks[kind]
        if not deck:
            steps = [step for step in self.steps if POINTS[step[0]].process is kind]
            self.chance.shuffle(steps)
            deck.extend(steps)
        if not deck:
            return None
        step = deck.popleft()
        if step[0] in NEEDS_A_FULL_JOURNAL:
            self._first.append(step)
            return FULL_JOURNAL
        return step

    # What makes the rarer steps happen

    def _is_ready(self, child: Child) -> None:
        if child.arm is None or not child.arm.point.startswith("revoke."):
            return
        member = self.chance.choice(list(self.fleet.members.values()))
        if child.arm.point in ("revoke.freshen", "revoke.again"):
            refs = member.mint(2, paused=True, lifetime=1)
            self._at(1.3, lambda: self._revoke(member, refs))
        else:
            self._revoke(member, self.chance.sample(sorted(member.refs), min(2, len(member.refs))))

    def _revoke(self, member: Member, refs: list[str]) -> None:
        for ref in refs:
            self.fleet.request_revocation(member.profile, ref)
        self._revoked[member.profile] += refs

    def _at(self, seconds: float, act: Callable[[], None]) -> None:
        self._later.append((time.monotonic() + seconds, act))

    # Rest and verdict

    def _rest(self) -> None:
        """End all that is armed, let one worker and one beat go on, and wait until nothing is left to be done."""
        for child in list(self.processes.children.values()):
            if child not in self._steady:
                self.processes.end(child)
        self._until(lambda: set(self._running()) <= {child.name for child in self._steady} and not self._later)
        # A new worker drains at its start what the dead have left.
        self._steady.append(self.processes.start(Process.WORKER))
        begun = time.monotonic()
        if not self._until(lambda: not self._unrested()):
            self.report.wrongs += [f"has not come to rest: {row}" for row in self._unrested()]
        self.report.longest_rest = max(self.report.longest_rest, time.monotonic() - begun)
        # A clean end settles what is under way and drains its journal: then all is in the database.
        for child in self._steady:
            self.processes.end(child, politely=True)
        self._until(lambda: not self._running())

    def _running(self) -> list[str]:
        return list(self.processes.children)

    def _until(self, true: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + REST
        asked_at = 0.0
        while time.monotonic() < deadline:
            self._tick()
            if time.monotonic() - asked_at > 0.3:
                if true():
                    return True
                asked_at = time.monotonic()
        return False

    def _unrested(self) -> list[str]:
        orphans = self.fleet.rows(ORPHANS)
        self.report.wrongs += [f"an orphan is not due within its lease: {row}" for row in orphans]
        alive = [str(child.pid) for child in self.processes.children.values()]
        undrained = [
            f"a journal without owner is not drained: {row}" for row in self.fleet.rows(UNDRAINED, alive=alive)
        ]
        return undrained + [each for member in self.fleet.members.values() for each in self._unrested_of(member)]

    def _unrested_of(self, member: Member) -> Iterator[str]:
        # Whether or not the process that exchanged a code lived to tell: its grant is one of ours once it is a row.
        connected = self.fleet.rows(
            CONNECTED,
            client_id=member.client_id,
            refs=self._exchanged[member.profile],
            ended=self._revoked[member.profile],
        )
        member.refs.update(row["ref"] for row in connected)
        rows = self.fleet.rows(UNRESTED, client_id=member.client_id)
        lost = lost_refs(self.fleet, member) if rows else set()
        yield from (str(row) for row in rows if row["ref"] not in lost)

    def _judge(self) -> None:
        self.report.wrongs += self.evidence.overlaps()
        for profile, member in self.fleet.members.items():
            judged = judge(
                self.fleet,
                member,
                self.evidence,
                revoked=self._revoked[profile],
                exchanged=self._exchanged[profile],
            )
            self.report.losses.update((profile, cause) for cause in judged.losses.values())
            self.report.evidences.update(judged.evidences)
            self.report.unborn += judged.unborn
            self.report.wrongs += judged.wrongs
            # What is lost is ended, as its user's next consent would end it.
            self._revoke_lost(member, sorted(judged.losses.keys() & member.refs))
        self.report.requests += self.evidence.requests.total()
        self.report.frozen_requests += self.evidence.frozen_requests
        self.evidence.requests.clear()
        self.evidence.frozen_requests = 0

    def _revoke_lost(self, member: Member, refs: list[str]) -> None:
        for ref in refs:
            self.fleet.request_revocation(member.profile, ref)
