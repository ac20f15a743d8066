"""Imported: ask whether refresh tokens that come from outside live, before they become grants.

A probe as in tasks/probes/grant.py, for a token without a row. Only where the provider file allows it, within the
client's rate, and never against an operator's pause or a shut valve; where grants are due, they get every other slot. A
provider that takes the question for a refresh has consumed the token: its answer is journaled before it is read,
under the id of the grant that it is to become.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from models import client as clients
from models.database import transaction
from tasks.journal import JournalBroken, Position
from tasks.oauth import messages
from tasks.oauth.answer import Answer, Response
from tasks.oauth.rules import Means
from tasks.oauth.token_answer import TokenSet
from tasks.policy.life import Finding, probed
from tasks.policy.outcome import ABOUT_THE_TOKEN, NotUnderstood, Outcome, Refreshed, outcome
from tasks.policy.valve import USABLE_SHARE, Result, Sign
from tasks.runtime import clock, rate_slot, retry, valves
from tasks.runtime.journaling import entry_of, write_down
from tasks.runtime.registration import Registered
from tasks.runtime.runtime import Runtime
from tasks.settling.reading import sign_of

SLOT_PATIENCE = timedelta(minutes=5)  # for one slot
# A provider that decides is well, though a probe's usual answer is an error.
SIGNS = {Finding.ALIVE: Sign.GOOD, Finding.DEAD: Sign.NEUTRAL, Finding.REFRESHED: Sign.GOOD}


class ProbeHeld(Exception):
    """Nothing may be sent for this client now; the message says why."""


@dataclass(frozen=True, slots=True)
class ProbedToken:
    """What was found of one refresh token; `token_set` where the provider refreshed it, under `grant_id`."""

    finding: Finding
    code: str
    started_at: datetime
    grant_id: UUID
    token_set: TokenSet | None = field(default=None, repr=False)
    position: Position | None = None


class ImportedTokenProbe:
    """Asks one client's provider."""

    def __init__(self, runtime: Runtime, client_id: int) -> None:
        """Make ready to ask.

        Raises:
            ProbeNotAllowed: the provider file does not say that a probe is harmless.
            OAuthError, VaultError: the registration cannot be used here.

        """
        with transaction() as connection:
            known = clients.known(connection, [client_id])[client_id]
        self.runtime = runtime
        self.registered: Registered = runtime.registrations.ready(known)
        messages.allow_probe(self.registered.provider)

    def ask(self, refresh_token: str, *, ref: str, labels: dict[str, list[str]]) -> ProbedToken:
        """Ask about one refresh token, as soon as the client's rate has a slot.

        Raises:
            ProbeHeld: the client is paused, its valve shut, or nothing may be sent from this database.
            JournalBroken: an answer could not be kept safe, so nothing was sent.
            AddressError: the labels make no address; nothing was sent.

        """
        request = messages.probe(self.registered.registration, refresh_token=refresh_token, labels=labels)
        started_at, grant_id = self._wait(), uuid4()
        sending = retry.send(
            self.runtime.transport, request, deadline=self.registered.times.deadline, guard=lambda: None
        )
        answer = self.runtime.transport.submit(sending).result()
        position = self._write_down(
            answer, refresh_token, grant_id=grant_id, ref=ref, labels=labels, started_at=started_at
        )
        end = self._read(answer, refresh_token)
        finding = probed(answer, end)
        self._feed(end, finding, started_at)
        token_set = end.token_set if isinstance(end, Refreshed) else None
        probed_token = ProbedToken(finding, end.code, started_at, grant_id, token_set, position)
        if token_set is None:
            self.settled(probed_token)  # whatever it was, nothing of it is to be stored
        return probed_token

    def settled(self, probed_token: ProbedToken) -> None:
        """Note that nothing is left to be stored."""
        if probed_token.position is not None:
            self.runtime.journal.mark_settled([probed_token.position])

    def _wait(self) -> datetime:
        """Take a slot; returns the database's time."""
        client_id = self.registered.known.id
        if (reason := self.runtime.journal.check_writable()) is not None:
            raise JournalBroken(reason)
        self._may_send()
        with transaction() as connection:
            due = clients.has_due(connection, client_id)
        if due:
            self.runtime.stopping.wait(self._interval().total_seconds())
        if not rate_slot.wait_for_slot(self.runtime, client_id, patience=SLOT_PATIENCE):
            message = "no_slot"
            raise ProbeHeld(message)
        return self._may_send()

    def _may_send(self) -> datetime:
        with transaction() as connection:
            environment = self.runtime.settings.environment
            at, held = clients.may_send(connection, self.registered.known.id, environment=environment)
        if held is not None:
            raise ProbeHeld(held)
        return at

    def _interval(self) -> timedelta:
        rate = self.registered.provider.rate
        return timedelta(0) if rate is None else min(timedelta(minutes=1) / (rate * USABLE_SHARE), SLOT_PATIENCE)

    def _read(self, answer: Answer, refresh_token: str) -> Outcome:
        return outcome(
            answer,
            provider=self.registered.provider,
            proven=True,
            wall_clock=clock.wall(),
            hide=(refresh_token, self.registered.registration.client_secret),
        )

    def _feed(self, end: Outcome, finding: Finding, started_at: datetime) -> None:
        """Tell the client's valve how a question ended.

        None is told as a witness, though a token that lives proves the client well: witnesses are grants that a
        canary is chosen from, and the ids here are of no row.
        """
        sign = SIGNS.get(finding) or _sign_of(end)
        if sign is not None:
            ended = Result(uuid4(), started_at, sign, end.code, end.retry_after)
            with transaction() as connection:
                valves.feed(connection, {self.registered.known.id: [ended]}, {})

    def _write_down(
        self,
        answer: Answer,
        refresh_token: str,
        *,
        grant_id: UUID,
        ref: str,
        labels: dict[str, list[str]],
        started_at: datetime,
    ) -> Position | None:
        """Journal a token set that nobody asked for; None: there is none, or it goes straight to the database."""
        if not isinstance(answer, Response) or not answer.may_hold_tokens:
            return None
        entry = entry_of(
            answer,
            self.registered.known,
            kind="exchange",
            grant_id=grant_id,
            ref=ref,
            labels=labels,
            generation=0,
            fingerprint=self.runtime.vault.fingerprint(refresh_token),
            started_at=started_at,
            received_at=clock.wall(),
        )
        return write_down(self.runtime.journal, [entry])[0]


def _sign_of(end: Outcome) -> Sign | None:
    """As for a refresh, but that a word about the token, however it is said, blames no client.

    Of a grant a witness tells later whose fault it was; these tokens are of no grant, and three of them would shut the
    valve.
    """
    match end:
        case NotUnderstood(code=code, means=means) if code in ABOUT_THE_TOKEN or means is Means.SCOPE:
            return Sign.NEUTRAL
        case _:
            return sign_of(end)
