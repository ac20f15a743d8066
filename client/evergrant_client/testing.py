"""`FakeEvergrant`: an Evergrant in memory, for the tests of applications. All but the source is the real thing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from evergrant_client import clock
from evergrant_client.errors import GrantRevoked, NeedsConsent, UnknownGrant, Unreachable
from evergrant_client.evergrant import Evergrant
from evergrant_client.labels import headers_of
from evergrant_client.source import ConnectRequest, Reading, RevocationRequest, Wanted
from evergrant_client.token import Held, Token


@dataclass(frozen=True, slots=True)
class RefreshRequest:
    """A refresh that the application has asked for."""

    ref: str
    client: str | None = None
    if_generation: int | None = None


@dataclass(slots=True)
class _Grant:
    value: str
    generation: int
    life: float
    ends_at: float
    labels: dict[str, Sequence[str]] = field(default_factory=dict)
    reason: str | None = None
    revoked: bool = False


class FakeEvergrant(Evergrant):
    """Hands out made-up tokens; `requested` lists what the application asked for, in order.

    A grant is known by its ref alone: `client=` is recorded and not looked at. A refresh that is asked for arrives at
    once, with `-2`, `-3` … after the token's value.
    """

    def __init__(self, tokens: Mapping[str, str] | None = None) -> None:
        """Begin with these tokens, by ref; each lives two hours."""
        self.requested: list[RefreshRequest | RevocationRequest | ConnectRequest] = []
        self._grants: dict[str, _Grant] = {}
        self._away = False
        self._numbers = count(1)
        self._begin(_FakeSource(self))
        for ref, value in (tokens or {}).items():
            self.connect(ref, value)

    def connect(
        self,
        ref: str,
        value: str | None = None,
        *,
        labels: Mapping[str, str | Sequence[str]] | None = None,
        life: float = 7200.0,
    ) -> None:
        """Let there be a grant, with this token and life in seconds, in place of any before."""
        generation = self._grants[ref].generation + 1 if ref in self._grants else 1
        made = {name: [one] if isinstance(one, str) else list(one) for name, one in (labels or {}).items()}
        self._grants[ref] = _Grant(value or f"token-of-{ref}", generation, life, clock.now() + life, dict(made))
        self._memory.forget(ref)

    def expire(self, ref: str) -> None:
        """Let the token's life be over; the next who asks gets another."""
        self._grant(ref).ends_at = clock.now()
        self._memory.forget(ref)

    def need_consent(self, ref: str, reason: str = "revoked_or_expired") -> None:
        """Let the grant need its user's consent."""
        self._grant(ref).reason = reason
        self._memory.forget(ref)

    def revoke(self, ref: str) -> None:
        """Let the grant be revoked."""
        self._grant(ref).revoked = True
        self._memory.forget(ref)

    def go_away(self) -> None:
        """Answer nothing until `come_back`; what is remembered is handed out, as in earnest."""
        self._away = True

    def come_back(self) -> None:
        """Answer again."""
        self._away = False

    def _call_in(self, connection: object, statement: str, arguments: dict[str, Any]) -> Any:
        # The connection is the application's own and knows no Evergrant: the request is only recorded.
        del connection, statement
        if "if_generation" in arguments:
            return self._source.request_refresh(**arguments)
        return self._source.request_revocation(RevocationRequest(**arguments))

    def _answer(self) -> None:
        if self._away:
            message = "The fake was told to be away"
            raise Unreachable(message)

    def _grant(self, ref: str) -> _Grant:
        self._answer()
        if ref not in self._grants:
            raise UnknownGrant(ref)
        return self._grants[ref]


class _FakeSource:
    """The grants of a fake."""

    def __init__(self, fake: FakeEvergrant) -> None:
        self._fake = fake

    def read(self, wanted: Wanted, *, wait: float) -> Reading:
        del wait
        grant, at = self._usable(wanted.ref), clock.now()
        headers, undecided = headers_of(wanted.ref, grant.labels, wanted.chosen)
        expires_at = datetime.now(UTC) + timedelta(seconds=grant.ends_at - at)
        token = Token(grant.value, grant.generation, expires_at, headers, undecided)
        held = Held(token, ends_at=grant.ends_at, life=grant.life, read_at=at)
        return Reading(grant.generation, held, fresh=held.lasts(wanted.min_ttl, at), waits_for=wanted.ref)

    def ask(self, wanted: Wanted, generation: int, *, rejected: bool) -> int:
        return self.request_refresh(wanted.ref, wanted.client, generation if rejected else None)

    def pause(self, reading: Reading, seconds: float) -> None:
        """What was asked for is there already."""

    def request_refresh(self, ref: str, client: str | None, if_generation: int | None) -> int:
        grant = self._usable(ref)
        self._fake.requested.append(RefreshRequest(ref, client, if_generation))
        if if_generation is None or if_generation == grant.generation:
            grant.generation += 1
            grant.value = f"{grant.value.removesuffix(f'-{grant.generation - 1}')}-{grant.generation}"
            grant.ends_at = clock.now() + grant.life
        return grant.generation

    def request_revocation(self, request: RevocationRequest) -> int | None:
        try:
            grant = self._fake._grant(request.ref)  # noqa: SLF001  # its own source
        except UnknownGrant:
            if request.missing_ok:
                return None
            raise
        self._fake.requested.append(request)
        grant.revoked = True
        return next(self._fake._numbers)  # noqa: SLF001

    def connect_url(self, request: ConnectRequest) -> str:
        self._fake._answer()  # noqa: SLF001
        self._fake.requested.append(request)
        return f"https://connect.test/connect/ticket-{next(self._fake._numbers)}"  # noqa: SLF001

    def after_fork(self) -> None:
        """There is nothing of the parent's."""

    def close(self) -> None:
        """There is nothing open."""

    def _usable(self, ref: str) -> _Grant:
        grant = self._fake._grant(ref)  # noqa: SLF001
        if grant.revoked:
            raise GrantRevoked(ref)
        if grant.reason is not None:
            raise NeedsConsent(ref, grant.reason)
        return grant
