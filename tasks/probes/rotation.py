"""Probe the rotation: find out, with one grant that may be lost, what a provider does to the old refresh token.

Which request comes next is decided in tasks/policy/rotation.py. Each of them runs under a claim and a start of its
own, so no worker has the grant meanwhile, and takes a slot of the client's rate. Every token set that comes is
journaled and settled like any other: what came for the present token is stored, what came for an older one is
surplus. A refusal of an *older* token is what we wanted to know, and no judgement on the grant.
"""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import assert_never
from uuid import UUID

import structlog

from models import client as clients
from models import consent
from models import probe as taking
from models.attempt import Started
from models.database import transaction
from models.errors import Told
from models.probe import Taken
from models.states.grant import GrantStatus
from tasks import refresh
from tasks.oauth import messages
from tasks.oauth.answer import Answer, HeldBack, NotSent, RequestEnd
from tasks.oauth.errors import AddressError
from tasks.oauth.messages import Request
from tasks.policy.life import Life, presented
from tasks.policy.outcome import GrantThrottled, NotNow, NotUnderstood, Race, Refreshed, Refused, Unknown
from tasks.policy.rotation import RotationFinding, Seen, Step, next_step
from tasks.runtime import clock, rate_slot, retry
from tasks.runtime.attempt import Arrived, Attempt
from tasks.runtime.registration import Registered
from tasks.runtime.runtime import Runtime
from tasks.settling.reading import read
from tasks.settling.settle import settle

log = structlog.get_logger()

STATUSES = (GrantStatus.ACTIVE, GrantStatus.PAUSED)
SLOT_PATIENCE = timedelta(minutes=5)  # for one slot
IDLE_PATIENCE = timedelta(seconds=3)  # for a refresh that is under way at the beginning
LOOK_EVERY = timedelta(seconds=0.2)
ROUNDING = timedelta(seconds=1)  # a provider may count whole seconds


class PairShared(Told):
    """Another ref holds this very pair, {ref} of client {client}, and would be lost with it."""

    error = "pair_shared"
    next = "choose a grant of its own; nothing was sent"

    def __init__(self, ref: str, client: str) -> None:
        super().__init__(ref=ref, client=client)


@dataclass(frozen=True, slots=True)
class Probed:
    """What a rotation probe found, and how it left the grant.

    `lived`: for how long the old refresh token was seen to work; `usable`: None where we cannot know; `why`: what
    broke it off.
    """

    finding: RotationFinding
    requests: int
    lived: timedelta
    usable: bool | None
    why: str | None


@dataclass(frozen=True, slots=True)
class Old:
    """A refresh token that was spent: presented again it is asked for the generation that it belonged to."""

    sealed: bytes = field(repr=False)
    fingerprint: bytes
    generation: int
    sent_at: timedelta

    def in_place_of(self, attempt: Attempt) -> Attempt:
        """An attempt with this token."""
        made = attempt.with_token(self.sealed, self.fingerprint, None)
        return replace(made, job=made.job._replace(generation=self.generation))


class BrokenOff(Exception):
    """The probe cannot go on; the message is the reason."""


def probe_rotation(runtime: Runtime, grant_id: UUID, *, client_id: int) -> Probed:
    """Find the rotation profile of a client's provider with one grant, which may be lost by it.

    Raises:
        PairShared: another ref holds the grant's pair; nothing was sent.
        OAuthError: the provider file cannot be used; nothing was sent.

    """
    with transaction() as connection:
        known = clients.known(connection, [client_id])[client_id]
    return Experiment(runtime, grant_id, runtime.registrations.ready(known)).carry_out()


class Experiment:
    """One rotation probe."""

    def __init__(self, runtime: Runtime, grant_id: UUID, registered: Registered) -> None:
        self.runtime = runtime
        self.grant_id = grant_id
        self.registered = registered
        self.requests = 0
        self.lived = timedelta(0)
        self.dead_after = timedelta(0)
        self.usable: bool | None = None
        self.why: str | None = None
        self._generation: int | None = None
        self._was_due_in = timedelta(0)
        self._spent: list[Old] = []
        self._access_tokens: list[str] = []

    def carry_out(self) -> Probed:
        """Take step after step until something is found."""
        seen: list[Seen] = []
        while isinstance(step := next_step(seen), Step):
            try:
                seen.append(self._do(step))
            except BrokenOff as error:
                self.why = str(error)
                seen.append(Seen.BROKEN_OFF)
            log.info("probe_rotation.step", grant_id=str(self.grant_id), step=step.value, seen=seen[-1].value)
        return Probed(step, self.requests, self.lived, self.usable, self.why)

    def _do(self, step: Step) -> Seen:
        match step:
            case Step.REFRESH | Step.TRY_SUCCESSOR | Step.REFRESH_SUCCESSOR | Step.TRY_AFTER_REFUSAL:
                return self._refresh()
            case Step.REPEAT | Step.REPEAT_AFTER_USE | Step.REPEAT_AFTER_REFRESH:
                return self._repeat(self._spent[0])
            case Step.REPEAT_LATE:
                self._let_pass(self._spent[-1].sent_at + self.dead_after + ROUNDING)
                return self._repeat(self._spent[-1])
            case Step.USE:
                return self._use(self._access_tokens[0])
            case Step.USE_LAST:
                return self._use(self._access_tokens[-1])

    # Steps

    def _refresh(self) -> Seen:
        """Send the present refresh token; its answer is settled as any refresh's, a refusal included."""
        attempt = self._begin()
        sent_at, job = clock.boot(), attempt.job
        assert job.sealed_refresh_token is not None  # noqa: S101  # `_begin` has looked
        assert job.refresh_fingerprint is not None  # noqa: S101  # it stands and falls with the token
        arrived = self._ask(attempt)
        settle(self.runtime, [arrived])
        match read(arrived, proven=self._proven(), vault=self.runtime.vault):
            case Refreshed(token_set=token_set):
                self._spent.append(Old(job.sealed_refresh_token, job.refresh_fingerprint, job.generation, sent_at))
                self._access_tokens.append(token_set.access_token)
                self._generation = job.generation + 1
                self.usable = True
                return self._kept_or_rotated(token_set.refresh_token, job)
            case Refused():
                self.usable = False
                return Seen.REFUSED
            case (HeldBack() | NotSent() | NotNow() | NotUnderstood() | GrantThrottled() | Race() | Unknown()) as end:
                raise self._broken_off(end)
            case end:
                assert_never(end)

    def _repeat(self, old: Old) -> Seen:
        """Send a spent refresh token again; a set that comes is surplus, and a refusal says nothing of the grant."""
        attempt = self._begin()
        arrived = self._ask(old.in_place_of(attempt))
        age = clock.boot() - old.sent_at
        match read(arrived, proven=self._proven(), vault=self.runtime.vault):
            case Refreshed(token_set=token_set):
                settle(self.runtime, [arrived])
                self._give_back(attempt)
                self.lived = max(self.lived, age)
                return self._kept_or_rotated(token_set.refresh_token, arrived.attempt.job)
            case Refused():
                self._give_back(attempt)
                self.dead_after = age
                return Seen.REFUSED
            case (HeldBack() | NotSent() | NotNow() | NotUnderstood() | GrantThrottled() | Race() | Unknown()) as end:
                settle(self.runtime, [arrived])
                raise self._broken_off(end)
            case end:
                assert_never(end)

    def _use(self, access_token: str) -> Seen:
        """Present an access token: at `on_use` that kills the direct predecessor of its pair."""
        provider = self.registered.provider
        if (provider.confirm_url or provider.api_url) is None:
            return Seen.NO_ADDRESS
        attempt = self._begin()
        try:
            answer = self._send(attempt, self._presentation(access_token, attempt.job))
        finally:
            self._give_back(attempt)
        if isinstance(answer, HeldBack):
            raise self._broken_off(answer)
        return Seen.USED if presented(answer, self.registered.provider) is Life.ALIVE else Seen.UNTOLD

    def _presentation(self, access_token: str, job: Started) -> Request:
        provider = self.registered.provider
        call = messages.confirm if provider.confirm_url else messages.api_call
        try:
            return call(provider, access_token=access_token, labels=job.labels)
        except AddressError as error:
            raise BrokenOff(error.code) from error

    def _let_pass(self, until: timedelta) -> None:
        """Wait: nothing of this grant is under way meanwhile."""
        self.runtime.stopping.wait(max((until - clock.boot()).total_seconds(), 0))

    def _kept_or_rotated(self, received: str | None, job: Started) -> Seen:
        assert job.sealed_refresh_token is not None  # noqa: S101  # it was sent
        sent = self.runtime.vault.open(
            job.sealed_refresh_token, table="grants", row_id=self.grant_id, purpose="refresh"
        )
        return Seen.KEPT if received in (None, sent) else Seen.ROTATED

    # Claim, send, give back

    def _begin(self) -> Attempt:
        """Take a slot, claim the grant and start it.

        Raises:
            BrokenOff: it is not ours to have now.
            PairShared: it is not this grant's alone.

        """
        if not rate_slot.wait_for_slot(self.runtime, self.registered.known.id, patience=SLOT_PATIENCE):
            raise BrokenOff("no_slot")
        taken = self._take_when_idle()
        self._was_due_in = taken.was_due_in
        for attempt in refresh.start(self.runtime, [(taken.grant_id, taken.claim_no)], status=taken.status):
            if (why := self._unfit(attempt.job)) is not None:
                self._give_back(attempt)
                raise BrokenOff(why)
            return replace(attempt, registered=_without_confirm(attempt.registered))
        raise BrokenOff("not_started")

    def _take_when_idle(self) -> Taken:
        until = clock.boot() + (IDLE_PATIENCE if self.requests == 0 else timedelta(0))
        while (taken := self._take()) is None:
            if clock.boot() >= until or self.runtime.stopping.wait(LOOK_EVERY.total_seconds()):
                raise BrokenOff("busy")
        return taken

    def _take(self) -> Taken | None:
        with transaction() as connection:
            lease = self.runtime.settings.dispatch_lease
            taken = taking.take(connection, self.grant_id, lease=lease, statuses=STATUSES)
            if taken is not None and taken.refresh_fingerprint is not None:
                for holder in consent.holders(connection, [taken.refresh_fingerprint]):
                    if holder.grant_id != self.grant_id:
                        raise PairShared(holder.ref, holder.client)
        return taken

    def _unfit(self, job: Started) -> str | None:
        """Why a started grant is no object for this: its answer would say nothing, or it is not as we left it."""
        if job.sealed_refresh_token is None:
            return "no_refresh_token"
        if job.doubt_since is not None:
            return "in_doubt"
        if job.suspect_at is not None:
            return "suspect"
        if self._generation not in (None, job.generation):
            return "refreshed_by_another"
        return None

    def _ask(self, attempt: Attempt) -> Arrived:
        """Send a refresh; whatever becomes of it is to be settled."""
        try:
            request = refresh.request_of(self.runtime, attempt)
        except Exception:
            self._give_back(attempt)
            raise
        answer = request if isinstance(request, HeldBack | NotSent) else self._send(attempt, request)
        return Arrived(attempt, answer, clock.wall())

    def _send(self, attempt: Attempt, request: Request) -> Answer:
        if (held := refresh.check(self.runtime, attempt)) is not None:
            return held
        self.requests += 1
        deadline = self.registered.times.deadline
        sending = retry.send(
            self.runtime.transport, request, deadline=deadline, guard=lambda: refresh.check(self.runtime, attempt)
        )
        return self.runtime.transport.submit(sending).result()

    def _give_back(self, attempt: Attempt) -> None:
        refresh.give_back([(attempt.job.grant_id, attempt.job.claim_no, self._was_due_in)])

    def _broken_off(self, end: RequestEnd) -> BrokenOff:
        """The end of the probe; a refusal in the provider's own words may mean that the grant is dead."""
        if end.unknown or isinstance(end, NotUnderstood):
            self.usable = None
        return BrokenOff(end.code)

    def _proven(self) -> bool:
        """Whether a refusal speaks of the token: something succeeded under these credentials, perhaps just now."""
        return self.registered.known.proven or bool(self._spent)


def _without_confirm(registered: Registered) -> Registered:
    """The registration with which settling presents no access token by itself: that would spoil what is looked at."""
    registration = registered.registration
    quiet = registration.provider.model_copy(update={"confirm_url": None})
    return replace(registered, registration=replace(registration, provider=quiet))
