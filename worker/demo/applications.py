"""Applications of a demo: they read what each side has for a customer, and call the provider's API."""

import threading
from collections import Counter
from http.client import HTTPConnection, HTTPException
from itertools import cycle
from typing import Self
from urllib.parse import urlsplit

import structlog

from models.database import transaction
from models.sealing.vault import Vault
from worker.demo.plan import OURS, USUAL
from worker.demo.sides import HeldGrant, held_by_ours, held_by_usual

log = structlog.get_logger()

EVERY_SECONDS = 0.1
_OK = 200


class Applications:
    """Calls the API for one customer after the other, with the token that each side has for them just now.

    At a provider of Doorkeeper's kind the first use of an access token ends the pair before it, so without
    applications nothing would ever be at stake. `served` and `failed` count calls by side; a call for which there
    is no living token has failed, too.
    """

    def __init__(self, provider_url: str, vault: Vault, refs: list[str]) -> None:
        self.served: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.ended: frozenset[str] = frozenset()
        self._netloc = urlsplit(provider_url).netloc
        self._vault = vault
        self._refs = refs
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="applications", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)

    def _run(self) -> None:
        for ref in cycle(self._refs):
            if self._over.wait(EVERY_SECONDS):
                return
            if ref not in self.ended:
                self._call_for(ref)

    def _call_for(self, ref: str) -> None:
        for side in (USUAL, OURS):
            try:
                held = self._held(side, ref)
                good = held is not None and held.access_token is not None and self._opens(held.access_token)
            except Exception as error:  # noqa: BLE001  # nobody can read a token while the database is away
                log.info("demo.not_called", side=side, error=type(error).__name__)
                continue
            (self.served if good else self.failed)[side] += 1

    def _held(self, side: str, ref: str) -> HeldGrant | None:
        with transaction() as connection:
            held = held_by_usual(connection, ref) if side == USUAL else held_by_ours(connection, self._vault, ref)
        return held[0] if held else None

    def _opens(self, access_token: str) -> bool:
        connection = HTTPConnection(self._netloc, timeout=5)
        try:
            headers = {"Authorization": f"Bearer {access_token}", "X-API-ORG": "org-1"}
            connection.request("GET", "/v2/bookings", headers=headers)
            return connection.getresponse().status == _OK
        except HTTPException:
            return False
        finally:
            connection.close()
