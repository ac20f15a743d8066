"""Liveness: whether a pair of a grant lives at the provider, asked within one attempt to end the grant.

A probe asks by the refresh token and consumes nothing, as introspection does; the API is asked by the access token.
"""

from http import HTTPStatus

import structlog

from models.revocation import Branch
from tasks.oauth import messages
from tasks.oauth.answer import Answer, Response
from tasks.oauth.errors import AddressError
from tasks.oauth.messages import Request
from tasks.policy.introspection import introspected
from tasks.policy.life import Life, may_be_asked_again, presented, probed
from tasks.policy.outcome import Refreshed
from tasks.revocation_requests import NotYet, RevocationRequests
from tasks.runtime import clock
from tasks.runtime.attempt import Arrived, Attempt
from tasks.runtime.runtime import Runtime
from tasks.settling.reading import read
from tasks.settling.settle import settle

log = structlog.get_logger()

# A look that is answered so, and says nothing of the token, will say nothing the next time either.
DECIDED = frozenset(range(300, 500)) - {408, 425, 429}


class Liveness:
    """What the provider says of the branches of a grant."""

    def __init__(self, runtime: Runtime, attempt: Attempt, requests: RevocationRequests) -> None:
        self._runtime = runtime
        self._attempt = attempt
        self._requests = requests
        self._provider = attempt.registered.provider
        self._seen: dict[bytes, Life] = {}
        self._introspected: dict[bytes, Life] = {}  # what was said first
        self._can_look = self._has_place()

    def _has_place(self) -> bool:
        """Whether the provider has a place to look at, and the grant's labels lead there."""
        if (self._provider.confirm_url or self._provider.api_url) is None:
            return False
        try:
            self._look("none")
        except AddressError as error:
            log.warning("revoke.cannot_look", grant_id=str(self._attempt.job.grant_id), reason=str(error))
            return False
        return True

    def _look(self, access_token: str) -> Request:
        call = messages.confirm if self._provider.confirm_url else messages.api_call
        return call(self._provider, access_token=access_token, labels=self._attempt.job.labels)

    def can_be_used(self, branch: Branch) -> bool:
        """Whether there is an access token, and a place where to present it."""
        return self._can_look and branch.sealed_access_token is not None

    def has_expired(self, branch: Branch) -> bool:
        """Whether its access token has ended by now, by the database's clock."""
        now = self._attempt.job.started_at + (clock.boot() - self._attempt.begun)
        return branch.access_expires_at is None or branch.access_expires_at <= now

    def last_seen(self, branch: Branch) -> Life | None:
        """What the API last said of a branch's access token; None: it was not asked."""
        return self._seen.get(branch.refresh_fingerprint)

    def probe(self, branch: Branch) -> Life:
        """Ask by a refresh that consumes nothing.

        Raises:
            NotYet: it may have consumed the token after all: its answer is settled as any, which ends the attempt.

        """
        token = self._requests.refresh_token_of(branch)
        request = messages.probe(
            self._attempt.registered.registration, refresh_token=token, labels=self._attempt.job.labels
        )
        answer = self._requests.send(request, spends=True)
        arrived = Arrived(self._requests.attempt_with(branch), answer, clock.wall())
        end = read(arrived, proven=True, vault=self._runtime.vault)
        if arrived.may_hold_tokens and (isinstance(end, Refreshed) or end.unknown):
            settle(self._runtime, [arrived])
            raise NotYet("still_alive", http_status=getattr(answer, "status", None))
        return _told(answer, probed(answer, end).life)

    @property
    def introspects(self) -> bool:
        """Whether the provider can be asked about a refresh token, and no probe does it better."""
        return self._provider.introspect_url is not None and not self._provider.probe

    def introspect(self, branch: Branch) -> Life:
        """Ask about its refresh token (RFC 7662); its end is believed only if it was said to live in this attempt.

        Raises:
            NotYet: it was not answered.

        """
        token = self._requests.refresh_token_of(branch)
        registration = self._attempt.registered.registration
        answer = self._requests.send(messages.introspect(registration, token=token, labels=self._attempt.job.labels))
        life = introspected(answer, self._provider).life
        if not isinstance(answer, Response) or answer.status != HTTPStatus.OK:
            life = _told(answer, life)
        before = self._introspected.setdefault(branch.refresh_fingerprint, life)
        return Life.UNTOLD if life is Life.DEAD and before is not Life.ALIVE else life

    def look_at_access(self, branch: Branch) -> Life:
        """Present its access token, which it has; at `on_use` that kills the direct predecessor.

        Raises:
            NotYet: it was not answered.

        """
        answer = self._requests.send(self._look(self._requests.access_token_of(branch)))
        again = may_be_asked_again(answer, self._provider)
        life = _told(answer, presented(answer, self._provider), again=again)
        self._seen[branch.refresh_fingerprint] = life
        return life


def _told(answer: Answer, life: Life, *, again: bool = False) -> Life:
    """What a look told; one that was not answered is made again, and is no way to end without having looked.

    `again`: it was answered, and the provider's file says that a later one may tell more.

    Raises:
        NotYet: it was not answered.

    """
    decided = isinstance(answer, Response) and answer.status in DECIDED and not again
    if life is Life.UNTOLD and not decided:
        raise NotYet("look_unanswered", http_status=getattr(answer, "status", None))
    return life
