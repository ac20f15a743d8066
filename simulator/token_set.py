"""A token set: a pair as an answer of the token endpoint writes it."""

from datetime import UTC, datetime
from typing import Any

from simulator.habits import Habits
from simulator.ledger import Pair


def token_set(habits: Habits, pair: Pair, now: float) -> dict[str, Any]:
    """Write a pair as the token endpoint does: `expires_in` is what *remains*, and absent where nothing expires."""
    body: dict[str, Any] = {"access_token": pair.access_token, "token_type": "Bearer"}
    if pair.grant.lifetime is not None and habits.life_member:
        body[habits.life_member] = _life(habits, pair, now)
    if pair.tells_refresh_token and (not pair.shares_refresh_token or habits.repeats_refresh_token):
        body["refresh_token"] = pair.refresh_token
    body["scope"] = " ".join(sorted(pair.scope.split(" "))) if habits.sorted_scope else pair.scope
    if habits.created_at:
        body["created_at"] = int(pair.issued_at)
    return {habits.token_within: body} if habits.token_within else body


def _life(habits: Habits, pair: Pair, now: float) -> int | str:
    """How long the access token lives: what remains, or its end."""
    if habits.life_member == "expires_in":
        return max(0, round(pair.expires_at - now))
    return datetime.fromtimestamp(pair.expires_at, UTC).isoformat()
