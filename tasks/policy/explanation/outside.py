"""What the provider does to all of a client: refused credentials, a shut valve, a rate that is used up."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Final

from tasks.policy.advice import UNPROVEN, advice, named
from tasks.policy.explanation.cause import Cause, iso, length, many
from tasks.policy.explanation.facts import ACTIVE, REVOKING, Facts
from tasks.policy.limits import word_of_limit

# Which end of a request says what of the provider; the first that fits.
_UNREACHABLE: Final = re.compile(r"dns|connect.*|tls.*|host_.*")
_AWAY: Final = re.compile(r"http_50[0-9]|http_408|timeout|reset|truncated|malformed|too_large|unreadable|http_3\d\d")
_OF_ADDRESS: Final = ("http_404", "http_405", "http_415")
_CREDENTIALS: Final = re.compile(r"invalid_client|unauthorized_client")
_COMMAND: Final = re.compile(r"evergrant [^;,]+")


def _words_of(code: str | None, client: str, *, refused: bool) -> str:
    """What a code says of the provider, in a sentence; `refused`: several were, in that word."""
    told = code or "nobody said why"
    if told == "http_429" or word_of_limit(told):
        return f"The provider asked {client} to wait ({told})"
    if told == "http_503":
        return f"The provider says that it is not available ({told})"
    if _UNREACHABLE.fullmatch(told):
        return f"The provider cannot be reached ({told})"
    if _AWAY.fullmatch(told):
        return f"The provider gives no answer that can be used ({told})"
    if not refused:  # it came with a Retry-After, or by a rule that calls the provider ill
        return f"The provider asked {client} to wait, or is not well ({told})"
    return f"Everybody of {client} is refused ({told})"


def command_in(told: str | None) -> str | None:
    """The command that an advice names."""
    found = _COMMAND.search(told or "")
    return found[0].strip() if found else None


def credentials_are_refused(now: Facts) -> Cause | None:
    """The provider does not know the client's id and secret, be it one grant that tells or all."""
    code = _told(now, _is_ours)
    if code is None:
        return None
    told = advice(code, client=now.client.name)
    return Cause(
        told=f"The provider refuses the credentials of {now.client.name} ({code})",
        since=_since(now, code),
        then=f"One request tries them again at {iso(_tried_at(now))}; no grant is blamed",
        retry_at=_tried_at(now),
        remedy=told,
        command=command_in(told),
    )


def nothing_has_succeeded_yet(now: Facts) -> Cause | None:
    """A refresh token was refused, and nothing proves the credentials: it can be the consent, or the id and secret."""
    code, client = _told(now, _is_unproven), now.client
    if code is None:
        return None
    alike = now.client.refused_alike
    return Cause(
        told=f"The provider refuses {_whom(now)} ({code.removesuffix(UNPROVEN)}), and nothing of {client.name} has"
        " succeeded yet under its present id and secret, so either "
        + ("they are wrong, or all those consents are dead" if alike else "its consent is dead, or they are wrong"),
        since=_since(now, code),
        then=f"It is tried again at {iso(_tried_at(now))}; no grant is blamed before something has succeeded",
        retry_at=_tried_at(now),
        remedy=f"compare id and secret with what the provider shows for {client.name}, then connect this user anew, or"
        " another: where that succeeds they are right, and the old consent was dead",
        command=f"evergrant clients set-secret {client.name} --client-secret-file -"
        if alike
        else f"evergrant grants connect {named(now.grant.ref, client.name)}",
    )


def _whom(now: Facts) -> str:
    """Who is refused in that word, as far as this grant knows."""
    alike = now.client.refused_alike
    if not _fails(now):
        return f"grants of {now.client.name}"
    return "this grant" if not alike else f"this grant and {alike} more of {now.client.name}"


def _fails(now: Facts) -> bool:
    grant = now.grant
    return grant.status in (ACTIVE, REVOKING) and grant.failures > 0 and not grant.failed_alone


def _told(now: Facts, fits: Callable[[str | None], bool]) -> str | None:
    """The code of that kind which the valve was shut for, or which this grant fails with."""
    own = now.grant.last_error_code if _fails(now) else None
    return next((each for each in (now.client.shut_for, own) if fits(each)), None)


def _since(now: Facts, code: str) -> datetime | None:
    shut = now.client.shut_since if now.client.shut_for == code else None
    return min((at for at in (shut, now.grant.failing_since) if at), default=None)


def _tried_at(now: Facts) -> datetime:
    return max(now.client.shut_until or now.grant.due_at, now.at)


def _is_ours(code: str | None) -> bool:
    return code is not None and _CREDENTIALS.fullmatch(code) is not None


def _is_unproven(code: str | None) -> bool:
    return code is not None and code.endswith(UNPROVEN)


def valve_is_shut(now: Facts) -> Cause | None:
    """The provider asked to wait, or requests failed in a row: one at a time tries whether it is well again."""
    client = now.client
    if client.shut_until is None or _is_ours(client.shut_for) or _is_unproven(client.shut_for):
        return None
    told = advice(client.shut_for, client=client.name, shape=client.shut_shape)
    if client.shut_for in _OF_ADDRESS and not client.shut_by_refusals:
        told = None  # who asks us to wait has an address
    this = ": this grant was the last to try" if client.canary_is_this else ""
    soon = f"at {iso(client.shut_until)}" if client.shut_until > now.at else "now"
    return Cause(
        told=f"{_words_of(client.shut_for, client.name, refused=client.shut_by_refusals)}, so nothing of {client.name}"
        f" is sent{this}",
        since=client.shut_since,
        then=f"One request tries {soon} whether it is well again; the first success opens it for all",
        retry_at=max(client.shut_until, now.at),
        remedy=told,
        command=command_in(told),
    )


def verdicts_are_held(now: Facts) -> Cause | None:
    """Unusually many grants were refused at once, this one too: nobody is judged until a person has looked."""
    if now.client.deaths_held_at is None or now.grant.suspect_at is None or now.grant.status != ACTIVE:
        return None
    return Cause(
        told=f"Unusually many grants of {now.client.name} were refused at once, this one too, so no verdict is given",
        since=now.client.deaths_held_at,
        then=f"It is asked again at {iso(now.grant.due_at)}; what lives recovers by itself",
        retry_at=now.grant.due_at,
        remedy="ask the provider what happened; if they are dead indeed, let the verdicts through",
        command=f"evergrant clients accept-deaths {now.client.name}",
    )


def secret_was_refused(now: Facts) -> Cause | None:
    """A new secret was refused, so the former one is used: that may end any day."""
    client = now.client
    if client.secret_refused_at is None:
        return None
    return Cause(
        told=f"Its client {client.name} goes on with its former secret: the new one was refused"
        f" ({client.secret_refused_code})",
        since=client.secret_refused_at,
        remedy="see at the provider which secret is good",
        command=f"evergrant clients set-secret {client.name} --client-secret-file -",
    )


def rate_is_used_up(now: Facts) -> Cause | None:
    """It is due, and waits for its turn within the client's rate or burst."""
    grant, client = now.grant, now.client
    if grant.status != ACTIVE or grant.due_at > now.at or client.shut_until is not None:
        return None
    slot = max(client.next_slot_at or now.at, now.at)
    waits = slot > now.at or client.ahead > 0
    if client.rate_per_minute is None and client.slowed_to is None:
        full = client.under_way >= client.burst
        return _burst_is_used_up(now) if full else None
    if not waits:
        return None
    turn = slot + client.interval * client.ahead
    pace = f"{client.slowed_to:g}" if client.slowed_to is not None else f"{client.rate_per_minute:g}"
    before = (
        f", and {many(client.ahead, 'grant')} of it {'is' if client.ahead == 1 else 'are'} due for longer"
        if client.ahead
        else ""
    )
    return Cause(
        told=f"It is due and waits for its turn: {client.name} may send {pace} requests a minute{before}",
        since=grant.due_at,
        then=f"It is its turn at about {iso(turn)}, in {length(turn - now.at)}",
        retry_at=turn,
        remedy="see whether the rate fits what there is to do; where the provider allows more, raise it: evergrant"
        f" clients set {client.name} --rate N/minute",
        command=f"evergrant plan --client {client.name}",
    )


def _burst_is_used_up(now: Facts) -> Cause:
    client = now.client
    return Cause(
        told=f"It is due and waits for its turn: {client.under_way} requests of {client.name} are under way, as many as"
        " its burst allows",
        since=now.grant.due_at,
        then="It goes as soon as one of them has ended",
        remedy="see whether they hang; else allow more at once",
        command=f"evergrant clients set {client.name} --burst N",
    )


def client_is_slowed(now: Facts) -> Cause | None:
    """Many are refused while others succeed, or few requests are left: it goes at a slower pace."""
    client = now.client
    if client.slowed_to is not None:
        return Cause(
            told=f"Its client {client.name} goes at {client.slowed_to:g} requests a minute: many are refused"
            f" ({client.slowed_code}) while others succeed",
            remedy="ask the provider for its limit",
            command=f"evergrant clients set {client.name} --rate N/minute",
        )
    if client.half_pace_until is not None:
        return Cause(
            told=f"Its client {client.name} goes at half its rate until {iso(client.half_pace_until)}: the provider"
            " says that few requests are left",
            retry_at=client.half_pace_until,
        )
    return None


def confirmations_fail(now: Facts) -> Cause | None:
    """Where a new access token is presented once, so that its predecessor dies, nobody answers of use."""
    client = now.client
    if client.unconfirmed_since is None or now.grant.status != ACTIVE:
        return None
    live = f": {many(now.grant.formers, 'former token set')} of it may live on" if now.grant.formers else ""
    return Cause(
        told=f"New access tokens of {client.name} cannot be confirmed ({client.unconfirmed_code}){live}",
        since=client.unconfirmed_since,
        then="It is renewed all the same; a confirmation is tried again after an hour at most, and makes up for all",
        retry_at=now.grant.due_at,
        remedy="see whether its confirm URL can be reached from the workers; where it is another by now, correct it",
        command=f"evergrant clients set {client.name} --confirm-url URL",
    )
