"""Refusal of web: what it says when it does not give what was asked, a status and one JSON object.

`error` is for programs: lower case, never changed once released. docs/reference/http.md lists every one.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from aiohttp import web

from models.sealing.keys import VaultError
from tasks.oauth.errors import LabelNotChosen
from worker.web.answers import told

SOON = timedelta(seconds=2)
LATER = timedelta(seconds=60)  # where somebody must act first


class Refusal(Exception):
    """A request is not granted: `message` says why, `next_step` what to do."""

    def __init__(
        self,
        status: int,
        error: str,
        message: str,
        next_step: str,
        *,
        retry_after: timedelta | None = None,
        headers: Mapping[str, str] | None = None,
        **facts: Any,
    ) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.body = {"error": error, "message": f"{message}.", "next": f"{next_step}.", **facts}
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(math.ceil(retry_after.total_seconds()))

    def response(self) -> web.Response:
        """The answer."""
        return told(self.body, status=self.status, headers=self.headers)


def bad_parameter(*, message: str, next_step: str) -> Refusal:
    """A parameter or a body cannot be used."""
    return Refusal(400, "bad_parameter", message, next_step)


def unknown_ref(ref: str) -> Refusal:
    """There is no such grant, or none that this application may see: it is not told which."""
    return Refusal(404, "unknown_ref", f"There is no grant {ref!r}", "name a ref that was connected")


def ambiguous_ref(ref: str, clients: Sequence[str] = (), *, could: str = "belongs to") -> Refusal:
    """Several clients have the ref, or could; `clients` names them where the asker may see them all."""
    names = f": {', '.join(clients)}" if clients else ""
    facts: dict[str, Any] = {"clients": list(clients)} if clients else {}
    return Refusal(
        400,
        "ambiguous_ref",
        f"The ref {ref!r} {could} several clients{names}",
        "add the parameter client",
        **facts,
    )


def unknown_client(client: str | None) -> Refusal:
    """There is no such client, or none that this application may see."""
    named = "at which it could be connected" if client is None else repr(client)
    return Refusal(404, "unknown_client", f"There is no client {named}", "name one that this key may see")


def provider_file(client: str) -> Refusal:
    """What a client's grants are at cannot be read here."""
    return Refusal(
        503,
        "provider_file",
        f"The provider file of client {client!r} cannot be used on this server",
        "have an operator look at the log of `evergrant web`",
        retry_after=LATER,
    )


def label_not_chosen(error: LabelNotChosen) -> Refusal:
    """A header needs one value of a label."""
    message = str(error)
    return Refusal(
        400,
        "label_not_chosen",
        message[:1].upper() + message[1:],
        f"add the parameter {error.label} with one of them, or give the grant that label",
        label=error.label,
        values=error.values,
    )


def database_away() -> Refusal:
    """The database does not answer; why is in our log, since it is none of an application's business."""
    return Refusal(503, "database_away", "The database does not answer", "try again", retry_after=SOON)


def database_unfit() -> Refusal:
    """What stands in this database is somebody else's, too."""
    return Refusal(
        503,
        "database_unfit",
        "Nothing is handed out from this database: it was copied, or never adopted",
        "have an operator look at `evergrant db check`",
        retry_after=LATER,
    )


def locked() -> Refusal:
    """Somebody else's open transaction holds what was asked for; our log says whose. Nobody waits behind it."""
    return Refusal(
        503,
        "locked",
        "Somebody's open transaction holds this grant",
        "try again once it has been committed or rolled back",
        retry_after=SOON,
    )


def too_many_wait() -> Refusal:
    """This application has asked for much that is not done yet."""
    return Refusal(503, "busy", "Too much that you asked for waits", "try again, a little at a time", retry_after=SOON)


def schema_behind() -> Refusal:
    """The database lacks tables, or rights on them."""
    return Refusal(
        503,
        "schema_behind",
        "The database lacks tables of this release, or refuses this role",
        "have an operator run `evergrant db upgrade` and look at the log of `evergrant web`",
        retry_after=LATER,
    )


def keys_missing(error: VaultError) -> Refusal:
    """A token cannot be opened here."""
    message = str(error)
    return Refusal(
        503,
        "keys",
        message[:1].upper() + message[1:],
        "have an operator add the key to the access key ring of `evergrant web` and start it again",
        retry_after=LATER,
    )


def stopping() -> Refusal:
    """This process ends; another one, or its successor, will answer."""
    return Refusal(503, "stopping", "This server is stopping", "try again", retry_after=SOON)
