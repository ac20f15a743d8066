"""Trial: one request with a client's newer secret, which was refused before, to see whether it is good by now."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import structlog
from sqlalchemy.exc import OperationalError

from models import credentials
from models.attempt import Started
from models.database import transaction
from models.sealing.keys import VaultError
from tasks.oauth.errors import OAuthError
from tasks.runtime.attempt import Attempt
from tasks.runtime.registration import Registrations

log = structlog.get_logger()


def with_trial(registrations: Registrations, attempts: Sequence[Attempt]) -> list[Attempt]:
    """Let one attempt of each client that has such a secret try it, where it is time; the others are as they were.

    Its answer is settled as any; where it is refused the grant is asked again at once with what works. A grant that is
    well goes first, for a refusal then tells of the secret. Where nobody is well any more one that fails goes: the
    provider may have ended the former secret, and then only the newer one can succeed. Never one in doubt.
    """
    made = list(attempts)
    for place in _best_places(attempts):
        made[place] = _on_trial(registrations, attempts[place])
    return made


def _best_places(attempts: Sequence[Attempt]) -> list[int]:
    """Where the attempt stands that is fit best to try a secret, for each client that has one on trial."""
    places: dict[int, list[int]] = {}
    for place, attempt in enumerate(attempts):
        known = attempt.registered.known
        if known.has_secret_on_trial and _may_try(attempt.job):
            places.setdefault(known.id, []).append(place)
    return [min(each, key=lambda place: _in_trouble_since(attempts[place].job) is not None) for each in places.values()]


def _may_try(job: Started) -> bool:
    """Whether it leaves, as far as is known: a trial that is held back is used up. What is in doubt has its own way."""
    return job.doubt_since is None and not job.valve_shut and not job.client_paused


def _in_trouble_since(job: Started) -> datetime | None:
    return min((at for at in (job.failing_since, job.suspect_at) if at is not None), default=None)


def _on_trial(registrations: Registrations, attempt: Attempt) -> Attempt:
    known = attempt.registered.known
    try:
        with transaction() as connection:
            if not credentials.begin_trial(connection, known.id, in_trouble_since=_in_trouble_since(attempt.job)):
                return attempt
        return replace(attempt, registered=registrations.on_trial(known))
    except (OperationalError, VaultError, OAuthError) as error:
        log.warning("client.secret_not_tried", client=known.name, reason=type(error).__name__)
        return attempt
