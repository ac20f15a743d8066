"""Liveness: whether a pair of a grant lives at the provider, asked within one attempt to end the grant.

A probe asks by the refresh token and consumes nothing; the API is asked by the access token. Every request takes a
slot of the client's rate and passes the guard.
"""

from datetime import timedelta

from models import client as clients
from models.database import transaction
from models.revocation import Branch
from tasks.oauth import messages
from tasks.oauth.errors import LabelNotChosen
from tasks.oauth.messages import Request
from tasks.oauth.transport import Answer, NotSent, Response
from tasks.policy.outcome import Life, presented, probed
from tasks.policy.valve import USABLE_SHARE
from tasks.refresh import HeldBack, check
from tasks.runtime import clock, retry
from tasks.runtime.attempt import Arrived, Attempt
from tasks.runtime.runtime import Runtime
from tasks.settling.decide import read
from tasks.settling.settle import settle

# A look that is answered so, and says nothing of the token, will say nothing the next time either.
DECIDED = frozenset(range(300, 500)) - {408, 425, 429}


class NotYet(Exception):
    """This attempt ends here; the revocation is queued again, `failed` where the provider did not play its part."""

    def __init__(self, code: str, *, http_status: int | None = None, failed: bool = True) -> None:
        super().__init__(code)
        self.code = code
        self.http_status = http_status
        self.failed = failed
        self.wait: timedelta | None = None


class Liveness:
    """What an attempt to end a grant asks the provider, and what it was told."""

    def __init__(self, runtime: Runtime, attempt: Attempt) -> None:
        self.runtime = runtime
        self.attempt = attempt
        self.provider = attempt.registered.provider
        self.requests = 0
        self.looked: dict[bytes, Life] = {}  # what the API last said of a branch's access token

    def _can_be_used(self, branch: Branch) -> bool:
        """Whether there is an access token, and a place where to present it."""
        url = self.provider.confirm_url or self.provider.api_url
        return url is not None and branch.sealed_access_token is not None

    def _has_expired(self, branch: Branch) -> bool:
        """Whether its access token has ended by now, by the database's clock."""
        now = self.attempt.job.started_at + (clock.boot() - self.attempt.begun)
        return branch.access_expires_at is None or branch.access_expires_at <= now

    def _probe(self, branch: Branch) -> Life:
        """Ask by a refresh that consumes nothing.

        Raises:
            NotYet: it may have consumed the token after all: its answer is settled as any, which ends the attempt.

        """
        token = self._open(branch.sealed_refresh_token, "refresh")
        answer = self._ask(messages.probe(self.attempt.registered.registration, refresh_token=token), spends=True)
        arrived = Arrived(self._attempt_with(branch), answer, clock.wall())
        if arrived.may_hold_tokens:
            settle(self.runtime, [arrived])
            raise NotYet("still_alive", http_status=getattr(answer, "status", None))
        return self._told(answer, probed(answer, read(arrived, proven=True)).life)

    def _look_at_access(self, branch: Branch) -> Life:
        assert branch.sealed_access_token is not None  # noqa: S101  # both callers have looked
        token = self._open(branch.sealed_access_token, "access")
        call = messages.confirm if self.provider.confirm_url else messages.api_call
        try:
            request = call(self.provider, access_token=token, labels=self.attempt.job.labels)
        except LabelNotChosen:
            request = call(self.provider, access_token=token)
        answer = self._ask(request)
        life = self._told(answer, presented(answer))
        self.looked[branch.refresh_fingerprint] = life
        return life

    def _told(self, answer: Answer, life: Life) -> Life:
        """What a look told; one that was not answered is made again, and is no way to end without having looked.

        Raises:
            NotYet: it was not answered.

        """
        if life is Life.UNTOLD and not (isinstance(answer, Response) and answer.status in DECIDED):
            raise NotYet("look_unanswered", http_status=getattr(answer, "status", None))
        return life

    def _ask(self, request: Request, *, spends: bool = False) -> Answer:
        """Send one request of this attempt, if the guard lets it; `spends`: it may use up a refresh token.

        What a grant in doubt must not do, at `family` above all, is to use its refresh token: to revoke it is safe.

        Raises:
            NotYet: it may not be sent now.

        """
        if self.requests:
            with transaction() as connection:
                clients.debit(connection, self.attempt.job.client_id, usable_share=USABLE_SHARE)
        self.requests += 1
        asking = self.attempt if spends else self.attempt.without_doubt()
        deadline = self.attempt.registered.times.deadline
        sending = retry.send(
            self.runtime.transport, request, deadline=deadline, guard=lambda: check(self.runtime, asking)
        )
        answer = self.runtime.transport.submit(sending).result()
        if isinstance(answer, NotSent) and answer.code == "guard":
            held = NotYet(str(answer.error), failed=False)
            held.wait = answer.error.held.wait if isinstance(answer.error, HeldBack) else None
            raise held
        return answer

    def _attempt_with(self, branch: Branch) -> Attempt:
        """This attempt, with the tokens of a branch."""
        return self.attempt.with_token(branch.sealed_refresh_token, branch.refresh_fingerprint, branch.former_token_id)

    def _open(self, sealed: bytes, purpose: str) -> str:
        return self.runtime.vault.open(sealed, table="grants", row_id=self.attempt.job.grant_id, purpose=purpose)
