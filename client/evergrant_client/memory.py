"""The tokens that this process remembers, so that a database which is away is bridged."""

import threading

from evergrant_client import clock
from evergrant_client.token import Held

SWEEP_AT = 1000

Key = tuple[str, str | None, str | None]
"""Ref, client, organization."""


class Memory:
    """Tokens by what was asked for; those that have ended are swept out when there are many."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held: dict[str, dict[Key, Held]] = {}
        self._sweep_at = SWEEP_AT

    def find(self, key: Key) -> Held | None:
        """What is remembered."""
        return self._held.get(key[0], {}).get(key)

    def keep(self, key: Key, held: Held) -> None:
        """Remember a token, in place of what was remembered."""
        with self._guard:
            self._held.setdefault(key[0], {})[key] = held
            if len(self._held) >= self._sweep_at:
                self._sweep()

    def forget(self, ref: str, generation: int | None = None) -> None:
        """Forget the tokens of a ref, for every client and organization, up to a generation or all of them."""
        with self._guard:
            kept = {} if generation is None else self._newer(ref, generation)
            if kept:
                self._held[ref] = kept
            else:
                self._held.pop(ref, None)

    def after_fork(self) -> None:
        """Another thread of the parent may have held the lock."""
        self._guard = threading.Lock()

    def _newer(self, ref: str, generation: int) -> dict[Key, Held]:
        return {key: held for key, held in self._held.get(ref, {}).items() if held.token.generation > generation}

    def _sweep(self) -> None:
        at = clock.now()
        self._held = {
            ref: tokens for ref, tokens in self._held.items() if any(held.ends_at > at for held in tokens.values())
        }
        self._sweep_at = max(SWEEP_AT, 2 * len(self._held))
