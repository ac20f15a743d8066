"""Asked labels: what an API's answer to the question for labels means, and when it is asked once more. Pure.

An answer ends the question, whatever it says. Only where there was none, or the API was ill or had enough of us, it
comes again, three times at most: labels are worth no more requests than that.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final

from tasks.oauth.addresses import Labels
from tasks.oauth.answer import SUCCESS, Answer, HeldBack, NotSent, Response, Silence
from tasks.oauth.asked_labels import NOTHING_GIVEN, Given, read
from tasks.oauth.provider import Provider
from tasks.policy.life import may_be_asked_again
from tasks.policy.limits import retry_after

KEPT: Final = "kept"
ALREADY_SET: Final = "already_set"  # by somebody else, so nothing was asked
REPLACED: Final = "token_replaced"  # while it was presented
WAITS: Final = (timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1))

_PASSES: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
_MEANS: Final = {
    "http_401": "its token may not read that",
    "http_403": "its token may not read that",
    "http_404": "there is nothing at that address",
    "nothing_found": "nothing stands at the paths of labels_at",
    "too_large": "its answer is longer than 1 MiB",
    "too_many": "there are more than 500 values",
    "too_long": "they are longer than 32 KiB together",
    "not_text": "what stands there is no short, printable text",
}


@dataclass(frozen=True, slots=True)
class Heard:
    """What a question came to; `again_in`: it is not ended, and comes again after that."""

    code: str
    given: Given = NOTHING_GIVEN
    again_in: timedelta | None = None


def heard(
    answer: Answer, provider: Provider, *, labels: Labels, access_token: str, tries: int, wall_clock: datetime
) -> Heard:
    """Read what came of a question that was asked `tries` times."""
    if isinstance(answer, Response) and answer.status in SUCCESS and not may_be_asked_again(answer, provider):
        return _given(read(provider, answer.body, labels, hide=access_token))
    code, wait = _code(answer), wait_before(tries)
    if not _may_pass(answer, provider) or wait is None:
        return Heard(code)
    asked_to_wait = None
    if isinstance(answer, Response):
        asked_to_wait = retry_after(answer.headers, wall_clock, header=provider.retry_after_header)
    return Heard(code, again_in=max(wait, asked_to_wait or timedelta(0)))


def wait_before(tries: int) -> timedelta | None:
    """How long until a question is asked once more that was asked so often; None: never."""
    return WAITS[tries - 1] if tries <= len(WAITS) else None


def advice(code: str, labels: list[str], *, grant: str) -> str:
    """Say what to do where the API gave no labels; `grant`: how a command names it."""
    means = _MEANS.get(code)
    why = code if means is None else f"{code}: {means}"
    by_hand = " ".join(f"--label {label}=VALUE" for label in labels)
    return (
        f"its API gave no {' and no '.join(labels)} ({why}): evergrant grants set {grant} {by_hand}; or mend labels_url"
        f" and labels_at in the provider file, then evergrant grants set {grant} --ask-labels"
    )


def _given(given: Given) -> Heard:
    if given.values:
        return Heard(KEPT, given)
    return Heard(next(iter(given.refused.values()), "nothing_found"), given)


def _code(answer: Answer) -> str:
    return f"http_{answer.status}" if isinstance(answer, Response) else answer.code


def _may_pass(answer: Answer, provider: Provider) -> bool:
    match answer:
        case Response(status=status):
            ill = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _PASSES
            return ill or may_be_asked_again(answer, provider)
        case NotSent():
            return not answer.is_of_its_address and answer.code != "bad_request"
        case Silence(code=code):
            return code != "too_large"
        case HeldBack():
            return True
