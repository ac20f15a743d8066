"""What the provider does to all of a client: refused credentials, a shut valve, a rate that is used up."""

import re
from typing import Final

from tasks.policy.advice import advice
from tasks.policy.explanation.cause import Cause, iso, length, many
from tasks.policy.explanation.facts import ACTIVE, REVOKING, Facts

# Which end of a request says what of the provider; the first that fits.
_UNREACHABLE: Final = re.compile(r"dns|connect.*|tls.*|host_.*")
_BUSY: Final = re.compile(r"http_429|.*throttl.*|.*rate.*limit.*|slow_down|too_many.*")
_AWAY: Final = re.compile(r"http_50[0-9]|http_408|timeout|reset|truncated|malformed|too_large|unreadable|http_3\d\d")
_CREDENTIALS: Final = re.compile(r"invalid_client|unauthorized_client|.*_unproven")
_COMMAND: Final = re.compile(r"evergrant [^;,]+")


def _words_of(code: str | None, client: str) -> str:
    """What a code says of the provider, in a sentence."""
    told = code or "nobody said why"
    if _BUSY.fullmatch(told):
        return f"The provider asked {client} to wait ({told})"
    if told == "http_503":
        return f"The provider says that it is not available ({told})"
    if _UNREACHABLE.fullmatch(told):
        return f"The provider cannot be reached ({told})"
    if _AWAY.fullmatch(told):
        return f"The provider gives no answer that can be used ({told})"
    return f"Everybody of {client} is refused ({told})"


def command_in(told: str | None) -> str | None:
    """The command that an advice names."""
    found = _COMMAND.search(told or "")
    return found[0].strip() if found else None


def credentials_are_refused(now: Facts) -> Cause | None:
    """The provider does not know the client's id and secret, be it one grant that tells or all."""
    grant, client = now.grant, now.client
    own = grant.status in (ACTIVE, REVOKING) and grant.failures > 0 and not grant.failed_alone
    code = next((each for each in (client.shut_for, grant.last_error_code if own else None) if _is_ours(each)), None)
    if code is None or (client.shut_for != code and not own):
        return None
    told = advice(code, client=client.name)
    since = min(
        (at for at in (client.shut_since if client.shut_for == code else None, grant.failing_since) if at), default=None
    )
    retry = client.shut_until or grant.due_at
    return Cause(
        told=f"The provider refuses the credentials of {client.name} ({code})",
        since=since,
        then=f"One request tries them again at {iso(max(retry, now.at))}; no grant is blamed",
        retry_at=max(retry, now.at),
        remedy=told,
        command=command_in(told),
    )


def _is_ours(code: str | None) -> bool:
    return code is not None and _CREDENTIALS.fullmatch(code) is not None


def valve_is_shut(now: Facts) -> Cause | None:
    """The provider asked to wait, or requests failed in a row: one at a time tries whether it is well again."""
    client = now.client
    if client.shut_until is None or _is_ours(client.shut_for):
        return None
    told = advice(client.shut_for, client=client.name)
    this = ": this grant was the last to try" if client.canary_is_this else ""
    soon = f"at {iso(client.shut_until)}" if client.shut_until > now.at else "now"
    return Cause(
        told=f"{_words_of(client.shut_for, client.name)}, so nothing of {client.name} is sent{this}",
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
        remedy=f"see whether the rate fits what there is to do: evergrant plan --client {client.name}",
        command=f"evergrant plan --client {client.name}",
    )


def _burst_is_used_up(now: Facts) -> Cause:
    client = now.client
    return Cause(
        told=f"It is due and waits for its turn: {client.under_way} requests of {client.name} are under way, as many as"
        " its burst allows",
        since=now.grant.due_at,
        then="It goes as soon as one of them has ended",
        command=f"evergrant clients show {client.name}",
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
