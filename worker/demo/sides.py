"""The sides of a demo: what each one's own table says, and what the provider's ledger says of the tokens it holds."""

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Self, assert_never

import structlog
from sqlalchemy import Connection, RowMapping, text

from models.database import transaction
from models.sealing.vault import Vault
from models.states.grant import GrantStatus
from simulator.control import SimulatorControl
from worker.demo.plan import OURS, USUAL

log = structlog.get_logger()


class State(Enum):
    """How a grant is, as a demo shows it; the order is that of the table."""

    FRESH = "fresh"  # its access token opens the API, says the ledger
    LATE = "late"  # it is active, and its access token does not
    IN_DOUBT = "in doubt"  # an answer is missing; its access token still opens the API
    SUSPECT = "suspect"  # its refresh token was refused once
    NEEDS_CONSENT = "needs consent"  # given up: only its user can mend it
    PAUSED = "paused"
    REVOKING = "revoking"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class HeldGrant:
    """A grant with the tokens that its side holds."""

    ref: str
    status: str
    in_doubt: bool
    suspect: bool
    left: float  # seconds of life of its access token, by its side's own table
    access_token: str | None = field(repr=False)
    refresh_token: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sample:
    """One side at one instant."""

    states: Mapping[str, State]
    left: Mapping[str, float]
    refreshes: int
    lost: int

    def count(self, *states: State) -> int:
        """How many grants are in one of these states."""
        return sum(state in states for state in self.states.values())


OURS_NOW = text("""
select g.id, g.ref, coalesce(t.status, g.status) as status, g.doubt_since is not null as in_doubt,
    g.suspect_at is not null as suspect, t.sealed_access_token, g.sealed_refresh_token,
    coalesce(extract(epoch from g.access_expires_at - clock_timestamp()), 0)::float as left
from evergrant.grants g join evergrant.access_tokens t on t.grant_id = g.id
where cast(:ref as text) is null or g.ref = :ref
""")
SHUT_NOW = text("select exists (select from evergrant.valves where paused_until is not null)")
USUAL_NOW = text("""
select ref, case status when 'dead' then 'needs_consent' else status end as status, access_token, refresh_token,
    extract(epoch from expires_at - clock_timestamp())::float as left
from naive.tokens
where cast(:ref as text) is null or ref = :ref
""")


def held_by_ours(connection: Connection, vault: Vault, ref: str | None = None) -> list[HeldGrant]:
    """Read our grants, or one of them, and open what an application is given: nothing that has expired."""
    return [_ours(row, vault) for row in connection.execute(OURS_NOW, {"ref": ref}).mappings()]


def held_by_usual(connection: Connection, ref: str | None = None) -> list[HeldGrant]:
    """Read the usual job's table, or one row of it."""
    rows = connection.execute(USUAL_NOW, {"ref": ref}).mappings()
    return [HeldGrant(in_doubt=False, suspect=False, **row) for row in rows]


def _ours(row: RowMapping, vault: Vault) -> HeldGrant:
    def opened(sealed: bytes | None, purpose: str) -> str | None:
        return None if sealed is None else vault.open(sealed, table="grants", row_id=row["id"], purpose=purpose)

    return HeldGrant(
        ref=row["ref"],
        status=row["status"],
        in_doubt=row["in_doubt"],
        suspect=row["suspect"],
        left=row["left"],
        access_token=opened(row["sealed_access_token"], "access"),
        refresh_token=opened(row["sealed_refresh_token"], "refresh"),
    )


def sampled(provider: SimulatorControl, client_id: str, held: list[HeldGrant], ended: frozenset[str]) -> Sample:
    """Ask the ledger about a side's tokens; `ended`: refs whose users revoked their consent."""
    tokens = {each.ref: each.access_token for each in held if each.access_token and each.status == GrantStatus.ACTIVE}
    judged = provider.judge(tokens)
    states = {each.ref: _state(each, opens=judged.get(each.ref, {}).get("alive", False)) for each in held}
    summary = provider.summary(client_id)
    lost = {row["ref"] for row in provider.lost() if row["client_id"] == client_id}
    lost |= {ref for ref, state in states.items() if state is State.NEEDS_CONSENT} - ended
    return Sample(
        states=states,
        left={each.ref: each.left for each in held},
        refreshes=summary["refreshes"],
        lost=len(lost),
    )


def dead_at_provider(provider: SimulatorControl, held: Iterable[HeldGrant]) -> set[str]:
    """The refs whose refresh token, as their side holds it, the provider would renew no more."""
    judged = provider.judge({each.ref: each.refresh_token or "" for each in held})
    return {ref for ref, verdict in judged.items() if not verdict["refresh_alive"]}


def _state(held: HeldGrant, *, opens: bool) -> State:
    match GrantStatus(held.status):
        case GrantStatus.ACTIVE:
            return _state_of_active(held, opens=opens)
        case GrantStatus.NEEDS_CONSENT:
            return State.NEEDS_CONSENT
        case GrantStatus.PAUSED:
            return State.PAUSED
        case GrantStatus.REVOKING:
            return State.REVOKING
        case GrantStatus.REVOKED:
            return State.REVOKED
        case status:
            assert_never(status)


def _state_of_active(held: HeldGrant, *, opens: bool) -> State:
    if held.suspect:
        return State.SUSPECT
    if not opens:
        return State.LATE
    return State.IN_DOUBT if held.in_doubt else State.FRESH


class Watcher:
    """Samples both sides over and over, in a thread of its own; keeps the last sample of each."""

    def __init__(self, provider: SimulatorControl, vault: Vault, *, every: float = 0.5) -> None:
        self.samples: dict[str, Sample] = {}
        self.ended: frozenset[str] = frozenset()
        self.is_shut = False  # our client's valve
        self._provider = provider
        self._vault = vault
        self._every = every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)

    def held(self) -> dict[str, list[HeldGrant]]:
        """What both sides hold now.

        Raises:
            OperationalError: the database is away.

        """
        with transaction() as connection:
            self.is_shut = connection.execute(SHUT_NOW).scalar_one()
            return {OURS: held_by_ours(connection, self._vault), USUAL: held_by_usual(connection)}

    def _run(self) -> None:
        while True:
            began = time.monotonic()
            try:
                held = self.held()
                self.samples = {side: sampled(self._provider, side, held[side], self.ended) for side in held}
            except Exception as error:  # noqa: BLE001  # the database is away now and then: that is the story
                log.info("demo.not_sampled", error=type(error).__name__)
            took = time.monotonic() - began
            if self._over.wait(max(self._every, 3 * took)):
                return
