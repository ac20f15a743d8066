"""One at a time for each grant: fifty threads that want the same token make one request."""

import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager


class Flights:
    """A lock for each key, made when first wanted and forgotten when nobody wants it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[Hashable, tuple[threading.Lock, list[None]]] = {}

    @contextmanager
    def alone(self, key: Hashable, timeout: float) -> Iterator[bool]:
        """Hold the key's lock; yields False where it was not free within `timeout` seconds."""
        with self._guard:
            lock, users = self._locks.setdefault(key, (threading.Lock(), []))
            users.append(None)
        taken = lock.acquire(timeout=max(timeout, 0))
        try:
            yield taken
        finally:
            if taken:
                lock.release()
            with self._guard:
                users.pop()
                if not users:
                    del self._locks[key]
