"""Revocation requests: what one attempt to end a grant sends to the provider.

Every request takes a slot of the client's rate and passes the guard.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Self

import structlog

from models import client as clients
from models.database import transaction
from models.revocation import Branch
from tasks.oauth.answer import Answer, HeldBack
from tasks.oauth.errors import LabelNeeded
from tasks.oauth.messages import Request
from tasks.oauth.revocation import Hint, names_access_token, revoke
from tasks.oauth.shapes import Presented
from tasks.policy.valve import MOST_OWED, OTHERS, TOLERANCE, USABLE_SHARE
from tasks.refresh import check
from tasks.runtime import retry
from tasks.runtime.attempt import Attempt
from tasks.runtime.runtime import Runtime

log = structlog.get_logger()


class NotYet(Exception):
    """This attempt ends here; the revocation is queued again, `failed` where the provider did not play its part."""

    def __init__(
        self, code: str, *, http_status: int | None = None, failed: bool = True, rule: str | None = None
    ) -> None:
        super().__init__(code)
        self.rule = rule
        self.code = code
        self.http_status = http_status
        self.failed = failed
        self.keeps_place = False  # in the queue
        self.wait: timedelta | None = None

    @classmethod
    def of(cls, held: HeldBack) -> Self:
        """Nothing may be sent now."""
        made = cls(held.code, failed=False)
        made.wait = held.wait
        return made


class NoSlot(NotYet):
    """A pair has died, and the client's rate has no slot for the next one: whoever is due goes first."""

    def __init__(self) -> None:
        super().__init__("waits_for_a_slot", failed=False)
        self.keeps_place = True


class RevocationRequests:
    """The requests of one attempt to end a grant, each with the tokens of one of its branches."""

    def __init__(self, runtime: Runtime, attempt: Attempt) -> None:
        self.sent = 0
        self._runtime = runtime
        self._attempt = attempt

    def send(self, request: Request, *, spends: bool = False) -> Answer:
        """Send one request, if the guard lets it; `spends`: it may use up a refresh token.

        What a grant in doubt must not do, at `family` above all, is to use its refresh token: to revoke it is safe.

        Raises:
            NotYet: it may not be sent now.

        """
        if self.sent:
            with transaction() as connection:
                clients.debit_revocation(
                    connection,
                    self._attempt.job.client_id,
                    usable_share=USABLE_SHARE,
                    others=OTHERS,
                    most_owed=MOST_OWED,
                )
        self.sent += 1
        asking = self._attempt if spends else self._attempt.without_doubt()
        transport, deadline = self._runtime.transport, self._attempt.registered.times.deadline
        sending = retry.send(transport, request, deadline=deadline, guard=lambda: check(self._runtime, asking))
        answer = transport.submit(sending).result()
        if isinstance(answer, HeldBack):
            raise NotYet.of(answer)
        return answer

    def has_slot(self) -> bool:
        """Whether the client's rate has a slot for one more."""
        with transaction() as connection:
            return clients.has_slot(connection, self._attempt.job.client_id, tolerance=TOLERANCE)

    def attempt_with(self, branch: Branch) -> Attempt:
        """The attempt, with the tokens of a branch."""
        return self._attempt.with_token(branch.sealed_refresh_token, branch.refresh_fingerprint, branch.former_token_id)

    def revocation_of(self, branch: Branch) -> Request:
        """The request that ends a branch, in the provider's shape.

        Raises:
            NotYet: it needs an access token that is not there, or a label that the grant does not have.
            KeyMissing, SealBroken: a token cannot be opened here.

        """
        registration, job = self._attempt.registered.registration, self._attempt.job
        provider = registration.provider
        access_token = None
        if names_access_token(provider):
            if branch.sealed_access_token is None:
                raise NotYet("no_access_token_to_revoke_by")
            access_token = self.access_token_of(branch)
        token: str | None = None
        hint: Hint | None = None
        match provider.revoke_token:
            case Presented.REFRESH:
                token, hint = self.refresh_token_of(branch), "refresh_token"
            case Presented.ACCESS:
                token, hint = access_token, "access_token"
            case Presented.NEITHER:
                pass
        try:
            return revoke(registration, token=token, hint=hint, access_token=access_token, labels=job.labels)
        except LabelNeeded as error:
            log.error("revoke.label_needed", ref=job.ref, reason=str(error))  # noqa: TRY400  # it says it all
            raise NotYet("label_needed") from error

    def secrets_of(self, branch: Branch) -> Iterable[str]:
        """What a revocation of a branch may repeat in its answer; opened by each who looks, and by nobody else."""
        return _SecretsOf(self, branch, self._attempt.registered.registration.client_secret)

    def refresh_token_of(self, branch: Branch) -> str:
        """Its refresh token, opened.

        Raises:
            KeyMissing, SealBroken: it cannot be opened here.

        """
        return self._open(branch.sealed_refresh_token, "refresh")

    def access_token_of(self, branch: Branch) -> str:
        """Its access token, opened; it has one (`Liveness.can_be_used`).

        Raises:
            KeyMissing, SealBroken: it cannot be opened here.

        """
        assert branch.sealed_access_token is not None  # noqa: S101  # all callers have looked
        return self._open(branch.sealed_access_token, "access")

    def _open(self, sealed: bytes, purpose: str) -> str:
        return self._runtime.vault.open(sealed, table="grants", row_id=self._attempt.job.grant_id, purpose=purpose)


@dataclass(frozen=True, slots=True)
class _SecretsOf:
    """The secrets of a branch, for as many as look: a generator hid them from the first alone."""

    requests: RevocationRequests
    branch: Branch
    client_secret: str = field(repr=False)

    def __iter__(self) -> Iterator[str]:
        yield self.client_secret
        yield self.requests.refresh_token_of(self.branch)
        if self.branch.sealed_access_token is not None:
            yield self.requests.access_token_of(self.branch)
