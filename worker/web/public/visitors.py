"""Visitors: who comes to the public listener, and how often each address may."""

import ipaddress
from collections import OrderedDict
from collections.abc import Hashable
from datetime import timedelta
from typing import Final

from aiohttp import web

from tasks.runtime import clock
from worker.web.door import NETWORK

PER_SECOND: Final = 5.0
AT_ONCE: Final = 60.0
MOST: Final = 10_000  # addresses that are remembered
OF_ALL_PER_SECOND: Final = 200.0
OF_ALL_AT_ONCE: Final = 1000.0


class Visitors:
    """A bucket for each address, and one for all of them together."""

    def __init__(self, *, behind_proxy: bool) -> None:
        self._behind_proxy = behind_proxy
        self._left: OrderedDict[Hashable, tuple[timedelta, float]] = OrderedDict()
        self._of_all: tuple[timedelta, float] | None = None

    def may_come(self, request: web.Request) -> bool:
        """Count one request; False: it is one too many for now."""
        now, address = clock.boot(), self._address(request)
        before = self._left.pop(address, None)
        self._left[address] = _taken(before, now, PER_SECOND, AT_ONCE)
        if len(self._left) > MOST:
            self._left.popitem(last=False)
        if self._left[address][1] < 0:
            return False
        self._of_all = _taken(self._of_all, now, OF_ALL_PER_SECOND, OF_ALL_AT_ONCE)
        return self._of_all[1] >= 0

    def came_by_tls(self, request: web.Request) -> bool:
        """Whether the proxy says that its side was TLS; without a proxy the listener has seen to that itself."""
        return not self._behind_proxy or request.headers.get("X-Forwarded-Proto", "").strip().lower() == "https"

    def _address(self, request: web.Request) -> Hashable:
        """Whose request it is; of what a proxy passes on only the last address was written by it."""
        told = request.remote or ""
        if self._behind_proxy:
            told = ",".join(request.headers.getall("X-Forwarded-For", [])).rpartition(",")[2].strip() or told
        try:
            found = ipaddress.ip_address(told.strip("[]").partition("%")[0])
        except ValueError:
            return told[:64]
        if isinstance(found, ipaddress.IPv4Address):
            return found
        return found.ipv4_mapped or int(found) >> NETWORK


def _taken(
    before: tuple[timedelta, float] | None, now: timedelta, per_second: float, most: float
) -> tuple[timedelta, float]:
    """One less of what a bucket holds; below nothing: there was none, and it stays empty."""
    since, left = before or (now, most)
    left = min(most, max(left, 0.0) + (now - since).total_seconds() * per_second)
    return now, left - 1.0
