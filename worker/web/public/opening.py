"""Opening the public listener: on a loop of its own, with a connection of its own, so that strangers hold up nobody."""

import asyncio
import ssl
from collections.abc import Coroutine
from functools import partial
from typing import Any, Final, Self, TypeVar

import structlog

from models.database import Lane
from models.public_listener import TELL_AGAIN, begin, go_on
from models.sealing.vault import Vault
from settings import Settings
from tasks.oauth.loop_thread import LoopThread
from worker.web.connections import Connections, Limits
from worker.web.database import Database
from worker.web.door import Door
from worker.web.listening import Address, public_listener
from worker.web.public.guests import Guests
from worker.web.public.listener import PublicListener
from worker.web.public.visitors import Visitors

log = structlog.get_logger()

T = TypeVar("T")

MOST: Final = 2000  # connections; all are strangers' here
SHARE_OF_FILES: Final = 8
NOTE_AGAIN_SECONDS: Final = 10.0


class Public:
    """The listener with what it has open."""

    def __init__(
        self, settings: Settings, vault: Vault, address: Address, tls: ssl.SSLContext | None, files: int
    ) -> None:
        assert settings.public_url is not None  # noqa: S101  # asked for with the address
        self._address = address
        self._tls = tls
        self._url = settings.public_url
        self._database = Database(Lane.PUBLIC, threads=1)
        self._apart = LoopThread("public")
        most = max(16, min(MOST, files // SHARE_OF_FILES))
        guests = Guests(settings, self._database, vault, redirect_uri=f"{self._url}/callback")
        visitors = Visitors(behind_proxy=settings.public_behind_proxy)
        listener = PublicListener(guests, visitors, public_url=self._url)
        self._door = Door(listener.application(), Connections(Limits(in_all=most, strangers=most)))

    @classmethod
    def of(cls, settings: Settings, vault: Vault, *, files: int) -> Self | None:
        """The listener that is wanted, if one is; `files`: how many this process may have open.

        Raises:
            SettingsError: it may not be opened so.

        """
        wanted = public_listener(settings)
        return None if wanted is None else cls(settings, vault, *wanted, files)

    async def open(self) -> str:
        """Listen; returns where.

        Raises:
            SettingsError: it cannot be opened.

        """
        await self._on(self._door.set_up())
        opened = await self._on(self._door.open(self._address, self._tls, variable="EVERGRANT_PUBLIC_BIND"))
        self._apart.launch(self._note())
        return opened

    async def close(self) -> None:
        """Let nobody in, and let those go who are there."""
        await asyncio.to_thread(self._apart.close, self._door.close())
        await self._database.close()

    async def _note(self) -> None:
        """Let whoever makes links know where they lead, as soon as the database can be had, and again and again."""
        note = begin
        while True:
            wait = TELL_AGAIN.total_seconds()
            try:
                await self._database.run(partial(note, url=self._url))
            except Exception as error:  # noqa: BLE001  # it is away now, or is read only
                wait = NOTE_AGAIN_SECONDS
                log.warning("public.url_not_noted", error=type(error).__name__, again_in_s=wait)
            else:
                note = go_on
            await asyncio.sleep(wait)

    async def _on(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(self._apart.submit(coroutine))
