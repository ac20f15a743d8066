"""Trial: one request with a client's newer secret, which was refused before, to see whether it is good by now."""

from collections.abc import Sequence
from dataclasses import replace

import structlog
from sqlalchemy.exc import OperationalError

from models import credentials
from models.database import transaction
from models.sealing.keys import VaultError
from tasks.oauth.errors import OAuthError
from tasks.runtime.attempt import Attempt
from tasks.runtime.registration import Registrations

log = structlog.get_logger()


def with_trial(registrations: Registrations, attempts: Sequence[Attempt]) -> list[Attempt]:
    """Let one attempt of each client that has such a secret try it, where it is time; the others are as they were.

    It is one whose grant is well: a refusal then tells of the secret. Its answer is settled as any; where it is refused
    the grant is asked again at once with what works.
    """
    made = list(attempts)
    tried: set[int] = set()
    for place, attempt in enumerate(attempts):
        known = attempt.registered.known
        if known.has_secret_on_trial and known.id not in tried and _is_well(attempt):
            tried.add(known.id)
            made[place] = _on_trial(registrations, attempt)
    return made


def _is_well(attempt: Attempt) -> bool:
    job = attempt.job
    return job.failing_since is None and job.suspect_at is None and job.doubt_since is None


def _on_trial(registrations: Registrations, attempt: Attempt) -> Attempt:
    known = attempt.registered.known
    try:
        with transaction() as connection:
            if not credentials.begin_trial(connection, known.id):
                return attempt
        return replace(attempt, registered=registrations.on_trial(known))
    except (OperationalError, VaultError, OAuthError) as error:
        log.warning("client.secret_not_tried", client=known.name, reason=type(error).__name__)
        return attempt
