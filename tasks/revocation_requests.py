"""Revocation requests: what one attempt to end a grant sends to the provider.

Every request takes a slot of the client's rate and passes the guard.
"""

from datetime import timedelta
from typing import Self

from models import client as clients
from models.database import transaction
from models.revocation import Branch
from tasks.oauth.messages import Request
from tasks.oauth.transport import Answer, HeldBack
from tasks.policy.valve import USABLE_SHARE
from tasks.refresh import check
from tasks.runtime import retry
from tasks.runtime.attempt import Attempt
from tasks.runtime.runtime import Runtime


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
        self.wait: timedelta | None = None

    @classmethod
    def of(cls, held: HeldBack) -> Self:
        """Nothing may be sent now."""
        made = cls(held.code, failed=False)
        made.wait = held.wait
        return made


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
                clients.debit(connection, self._attempt.job.client_id, usable_share=USABLE_SHARE)
        self.sent += 1
        asking = self._attempt if spends else self._attempt.without_doubt()
        transport, deadline = self._runtime.transport, self._attempt.registered.times.deadline
        sending = retry.send(transport, request, deadline=deadline, guard=lambda: check(self._runtime, asking))
        answer = transport.submit(sending).result()
        if isinstance(answer, HeldBack):
            raise NotYet.of(answer)
        return answer

    def attempt_with(self, branch: Branch) -> Attempt:
        """The attempt, with the tokens of a branch."""
        return self._attempt.with_token(branch.sealed_refresh_token, branch.refresh_fingerprint, branch.former_token_id)

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
