"""Gathering: things that come one by one and are done together, as many as wait when a thread is free."""

import threading
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from tasks.runtime.threads import told

T = TypeVar("T")


class Gathering(Generic[T]):
    """Threads, each of which takes all that are alike and wait; those that waited for longest have their turn first.

    So one thing alone waits for nobody, and of many that come at once each costs a part of what it would alone.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Sequence[T]], None],
        *,
        alike: Callable[[T], Hashable],
        threads: int,
        most: int,
    ) -> None:
        """`alike`: what those have in common that are done together; `most`: of them at a time."""
        self._work = work
        self._alike = alike
        self._most = most
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._lock = threading.Lock()
        self._waiting: dict[Hashable, list[T]] = {}

    def add(self, thing: T) -> None:
        """Have something done; raises RuntimeError once it is closed."""
        with self._lock:
            self._threads.submit(told(self._take))
            self._waiting.setdefault(self._alike(thing), []).append(thing)

    def _take(self) -> None:
        """Do those whose turn it is; another thread may have taken the last of them."""
        with self._lock:
            key = next(iter(self._waiting), None)
            found = self._waiting.pop(key, [])
            group, left = found[: self._most], found[self._most :]
            if left:
                self._waiting[key] = left  # behind the others
        if group:
            self._work(group)

    def close(self) -> None:
        """Do what waits, and then nothing any more."""
        self._threads.shutdown(wait=True)
