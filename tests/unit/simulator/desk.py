"""A desk: one client talking to a simulated provider in-process, with a clock that stands until it is moved."""

from dataclasses import dataclass
from typing import Any

from simulator.answers import Answer
from simulator.call import Call
from simulator.client import Client
from simulator.endpoints import authorization
from simulator.endpoints.authorization import AuthorizationRequest, Refusal
from simulator.habits import habits_for
from simulator.ledger import Grant, Pair
from simulator.provider import SimulatedProvider

CREDENTIALS = {"client_id": "acme", "client_secret": "acme-secret"}
FOREIGN = {"client_id": "other", "client_secret": "other-secret"}
CALLBACK = "https://acme.example/callback"


@dataclass(frozen=True)
class Tokens:
    """What the client keeps of an answer."""

    access: str
    refresh: str


class Desk:
    def __init__(self, profile: str = "on_use", dialect: str = "doorkeeper", **habits: Any) -> None:
        self.now = 1_000_000.0
        self.provider = SimulatedProvider(habits_for(profile, dialect, **habits), lifetime_seconds=7200.0)
        self.provider.register(Client("acme", "acme-secret", (CALLBACK,)))
        self.provider.register(Client("other", "other-secret", (CALLBACK,)))

    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    def mint(self, ref: str = "customer-1", **more: Any) -> Tokens:
        pair = self.provider.mint("acme", ref, now=self.now, **more)
        return Tokens(pair.access_token, pair.refresh_token)

    def ask(self, endpoint: str, params: dict[str, str] | None = None, **more: Any) -> Answer:
        answer, _ = self.provider.handle(Call(endpoint, params or {}, **more), self.now)
        return answer

    def token(self, **params: str) -> Answer:
        return self.ask("token", {**CREDENTIALS, **params})

    def try_refresh(self, tokens: Tokens, **more: str) -> Answer:
        return self.token(grant_type="refresh_token", refresh_token=tokens.refresh, **more)

    def refresh(self, tokens: Tokens) -> Tokens:
        answer = self.try_refresh(tokens)
        assert answer.status == 200, answer.body
        return Tokens(answer.body["access_token"], answer.body.get("refresh_token", tokens.refresh))

    def lose_refresh(self, tokens: Tokens) -> None:
        """Refresh, and let the answer be lost on its way."""
        call = Call("token", {**CREDENTIALS, "grant_type": "refresh_token", "refresh_token": tokens.refresh})
        _, request = self.provider.handle(call, self.now)
        self.provider.withhold(request, self.now, "lost on the wire")

    def refreshes(self, tokens: Tokens) -> bool:
        """Say whether the refresh token works, without spending it: with a scope never granted."""
        return self.error(self.try_refresh(tokens, scope="never_granted")) == "invalid_scope"

    def use(self, tokens: Tokens) -> int:
        """Call the API and return the status."""
        return self.ask("api", bearer=tokens.access, org="org-1").status

    def opens(self, tokens: Tokens) -> bool:
        """Say whether the access token is alive, without using it."""
        return self.pair(tokens).access_alive(self.now)

    def revoke(self, token: str, **params: str) -> Answer:
        return self.ask("revoke", {**CREDENTIALS, "token": token, **params})

    def authorize(self, **params: str) -> AuthorizationRequest | Refusal:
        query = {"client_id": "acme", "redirect_uri": CALLBACK, "response_type": "code"} | params
        return authorization.read(self.provider, query)

    def allow(self, user: str = "bob", **params: str) -> str:
        """Let a user say yes; returns the code."""
        asked = self.authorize(**params)
        assert isinstance(asked, AuthorizationRequest)
        authorization.allow(self.provider, asked, user, self.now)
        return list(self.provider.codes)[-1]

    def exchange(self, code: str, **params: str) -> Answer:
        return self.token(grant_type="authorization_code", code=code, **{"redirect_uri": CALLBACK, **params})

    def pair(self, tokens: Tokens) -> Pair:
        return self.provider.ledger.by_access_token[tokens.access]

    def grant(self, ref: str = "customer-1") -> Grant:
        return self.provider.ledger.by_ref[ref][-1]

    def lost(self) -> list[Grant]:
        return self.provider.ledger.lost(self.now)

    @staticmethod
    def error(answer: Answer) -> str:
        return str(answer.body["error"]) if answer.body else ""
