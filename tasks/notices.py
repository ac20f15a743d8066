"""Notices: what providers told by themselves is proven, and the grants that it is about are looked at soon.

It never kills by itself: a grant that it names is refreshed early, and what the provider answers then counts as ever.
What cannot be proven is dropped and counted.
"""

from collections import Counter
from typing import Final

import structlog
from sqlalchemy import Connection

from models import client as clients
from models import notice
from models.notice import Heard
from models.sealing.keys import VaultError
from tasks.oauth.errors import OAuthError
from tasks.oauth.notice_proof import Came, about, is_proven
from tasks.runtime import meters
from tasks.runtime.registration import Registered
from tasks.runtime.runtime import Runtime

log = structlog.get_logger()

MOST: Final = 50  # in one go: each may look through all grants of its client

TAKEN: Final = "taken"
UNPROVEN: Final = "unproven"
OF_NOBODY: Final = "of_nobody"  # proven, and about no active grant
UNREADABLE: Final = "unreadable"  # its key is not here, or its client's provider file cannot be used


def read(connection: Connection, runtime: Runtime) -> None:
    """Read the notices that wait, in the caller's transaction."""
    heard = notice.take(connection, most=MOST)
    known = clients.known(connection, [each.client_id for each in heard]) if heard else {}
    ended: Counter[tuple[str, ...]] = Counter()
    for each in heard:
        client = known[each.client_id]
        try:
            registered = runtime.registrations.ready(client)
            came = Came.read(runtime.vault.open(each.sealed_notice, table="notices", row_id=each.id, purpose="notice"))
            outcome = _read(connection, each, registered, came)
        except (VaultError, OAuthError) as error:
            log.error("notice.unreadable", client=client.name, reason=str(error))  # noqa: TRY400  # it says it all
            outcome = UNREADABLE
        except (ValueError, KeyError, TypeError, RecursionError):  # whatever a stranger wrote, the others are read
            log.exception("notice.unreadable", client=client.name)
            outcome = UNREADABLE
        ended[client.name, outcome] += 1
    meters.NOTICES.add(ended)


def _read(connection: Connection, heard: Heard, registered: Registered, came: Came) -> str:
    registration, name = registered.registration, registered.known.name
    rules = [rule for rule in registered.provider.notices if rule.method == came.method]
    proven = [
        rule
        for rule in rules
        if is_proven(rule, came, client_id=registration.client_id, client_secret=registration.client_secret)
    ]
    if not proven:
        log.warning("notice.unproven", client=name)
        return UNPROVEN
    found = next(filter(None, (about(rule, came) for rule in proven)), None)
    marked = 0 if found is None else notice.mark(connection, heard.client_id, ref=found.ref, labels=found.labels)
    log.info("notice", client=name, grants=marked)
    return TAKEN if marked else OF_NOBODY
