"""Facts: everything that is known of one grant and of what it depends on, at one instant."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from tasks.oauth.rotation import Rotation

ACTIVE, PAUSED, NEEDS_CONSENT = "active", "paused", "needs_consent"
REVOKING, REVOKED = "revoking", "revoked"
BEAT, WORKER = "beat", "worker"
QUEUED, WAITING, DEAD = "queued", "waiting", "dead"  # a revocation
FIT, REWOUND, COPIED = "fit", "rewound", "copied"  # a database


@dataclass(frozen=True, slots=True)
class Process:
    """A beat or a worker, and what it says of itself; None: it does not say, as one of an older release."""

    kind: str
    host: str
    pid: int
    alive: bool
    seen_at: datetime
    environment: str | None = None
    refresh_key_ids: tuple[str, ...] | None = None
    access_key_ids: tuple[str, ...] | None = None
    consumed_at: datetime | None = None
    fault: str | None = None

    @property
    def name(self) -> str:
        """As people find it."""
        return f"{self.kind} {self.pid} on {self.host}"


@dataclass(frozen=True, slots=True)
class Journal:
    """One that may still hold an answer; `alive`: its process said so lately."""

    id: int
    host: str
    seen_at: datetime
    alive: bool
    damage: str | None = None


@dataclass(frozen=True, slots=True)
class Act:
    """That somebody did something; None: nobody noted when, or who."""

    at: datetime | None
    by: str | None


@dataclass(frozen=True, slots=True)
class Revocation:
    """What asks for the end of the grant; `own_is_dead`: the pair that its row holds, while former ones may live."""

    id: int
    status: str
    requested: Act
    due_at: datetime | None = None
    done_at: datetime | None = None
    evidence: str | None = None
    last_error_code: str | None = None
    own_is_dead: bool = False


@dataclass(frozen=True, slots=True)
class Letter:
    """An open dead letter of the grant; `look_at`: when a dead one is asked once more by itself."""

    id: int
    cause: str
    dead_at: datetime
    look_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The row, as far as it tells anything. `doubt_repeated`: its last error is of a later request than the doubt.

    `failed_alone`: nobody understands its refusal, and others are well.

    `ends_soon_at`: the one of its two ends that comes near, and that renewing will not mend. `formers`: its former
    token sets that may live.
    """

    ref: str
    status: str
    due_at: datetime
    created_at: datetime
    reason: str | None = None
    on_demand: bool = False
    refreshed_at: datetime | None = None
    access_expires_at: datetime | None = None
    life: timedelta | None = None
    claimed_at: datetime | None = None
    started_at: datetime | None = None
    doubt_since: datetime | None = None
    doubt_repeated: bool = False
    suspect_at: datetime | None = None
    failures: int = 0
    attempts: int = 0
    failing_since: datetime | None = None
    failed_alone: bool = False
    last_error_code: str | None = None
    last_error_http_status: int | None = None
    last_error_at: datetime | None = None
    last_error_rule: str | None = None
    last_error_shape: str | None = None
    asked_at: datetime | None = None
    ends_soon_at: datetime | None = None
    consent_expires_at: datetime | None = None
    refresh_expires_at: datetime | None = None
    paused: Act | None = None
    has_refresh_token: bool = True
    refresh_key_id: str | None = None
    access_key_id: str | None = None
    formers: int = 0

    @property
    def error(self) -> str:
        """Its last error, as people search for it."""
        status = f", HTTP {self.last_error_http_status}" if self.last_error_http_status else ""
        return f"{self.last_error_code}{status}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """The client and its valve. `under_way`: of its jobs; `ahead`: of its grants those that are due for longer.

    `refused_since`: nobody has succeeded since somebody was refused in a word that nobody understands. `refused_alike`:
    of its other grants those that fail in the same word as this one, which nothing has proven yet. `shut_by_refusals`:
    the valve is shut because several were refused alike, and nobody has succeeded since.
    `unconfirmed_since`: where a new access token is presented once, nobody has answered of use since, and why.
    """

    name: str
    rotation: str = Rotation.NONE
    grace: timedelta | None = None
    after_grace: str = Rotation.FAMILY
    paused: Act | None = None
    shut_until: datetime | None = None
    shut_since: datetime | None = None
    shut_for: str | None = None
    shut_shape: str | None = None
    shut_by_refusals: bool = False
    canary_is_this: bool = False
    rate_per_minute: float | None = None
    interval: timedelta = timedelta(0)
    next_slot_at: datetime | None = None
    burst: int = 2000
    under_way: int = 0
    ahead: int = 0
    slowed_to: float | None = None
    slowed_code: str | None = None
    half_pace_until: datetime | None = None
    grant_interval: timedelta | None = None
    deaths_held_at: datetime | None = None
    witness_at: datetime | None = None
    secret_refused_at: datetime | None = None
    secret_refused_code: str | None = None
    secret_key_id: str | None = None
    refused_alike: int = 0
    unconfirmed_since: datetime | None = None
    unconfirmed_code: str | None = None
    file_fault: str | None = None
    has_user: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """Which database this is, and who asks; `awaited`: the journals that an incident waits for.

    `name`: its own, `adopted_name`: of the one that was adopted. `leads_customers`: a public listener was started on
    it, so links for browsers lead somewhere. `unwritable`: why it answers and takes no write. `holder`: of locks
    on rows of ours, for very long, and `holder_remedy` what ends it.
    """

    state: str = FIT
    environment: str | None = None
    asked_as: str | None = None
    name: str | None = None
    adopted_name: str | None = None
    incident_at: datetime | None = None
    awaited: tuple[Journal, ...] = ()
    leads_customers: bool = False
    unwritable: str | None = None
    holder: str | None = None
    holder_remedy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All of it, at `at` of the database's clock. `journals`: those that are not drained and may hold its answer.

    `worked_at`: when any worker has last carried out periodic work. `full_disk`: what is said of the disk of the home
    here, where that is full.
    """

    at: datetime
    grant: Grant
    client: Client
    database: Database = Database()
    processes: tuple[Process, ...] = ()
    journals: tuple[Journal, ...] = ()
    revocation: Revocation | None = None
    held: Act | None = None
    letter: Letter | None = None
    worked_at: datetime | None = None
    full_disk: str | None = None

    # What several checks ask

    def alive(self, kind: str) -> list[Process]:
        """The processes of a kind that live."""
        return [each for each in self.processes if each.kind == kind and each.alive]

    def fit(self, kind: str) -> list[Process]:
        """Those of them that are of this database's environment, or do not say of which."""
        return [each for each in self.alive(kind) if each.environment in (None, self.database.environment)]

    def last_seen(self, kind: str) -> datetime | None:
        """When one of a kind was seen last."""
        return max((each.seen_at for each in self.processes if each.kind == kind), default=None)

    @property
    def access_left(self) -> timedelta:
        """How long its access token lives on; less than nothing where it has ended, or there is none."""
        ends = self.grant.access_expires_at
        return timedelta(-1) if ends is None or self.grant.access_key_id is None else ends - self.at

    @property
    def asks_by_link(self) -> bool:
        """Whether its user can be asked again in their own browser."""
        return self.database.leads_customers and self.client.has_user

    @property
    def under_lease(self) -> bool:
        """Whether somebody has it: claimed or started, and its lease lasts."""
        return bool(self.grant.claimed_at or self.grant.started_at) and self.grant.due_at > self.at

    @property
    def in_doubt_since(self) -> datetime | None:
        """Since when an answer is unknown; also of an attempt that nobody has ended, and whose lease is over."""
        grant = self.grant
        left = grant.started_at if grant.started_at is not None and grant.due_at <= self.at else None
        return grant.doubt_since or left
