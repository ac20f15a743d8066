"""What a grant's own last requests tell: a lost answer, a refusal, a failure; or that all is well with it."""

from datetime import datetime, timedelta
from typing import Final

from tasks.oauth.rotation import KEEP_PREDECESSORS, Rotation
from tasks.policy.advice import advice_for, asks_again, named, refused_alone_advice
from tasks.policy.backlog import LATE
from tasks.policy.explanation.cause import Cause, iso, length, many
from tasks.policy.explanation.facts import ACTIVE, REVOKING, Facts, Journal
from tasks.policy.explanation.outside import command_in
from tasks.policy.guard import Situation, profile_forbids
from tasks.policy.verdict import WITNESS_WAIT

_GUARDED: Final = {
    "access_token_still_serves": "to ask again may kill what lives, so it waits until its access token is of no use",
    "grace_is_not_over": "it waits until the grace of what was sent is over",
}
_NO_WHOLE_ANSWER: Final = frozenset({"timeout", "reset", "malformed", "truncated", "too_large", "internal"})


def a_journal_is_awaited(now: Facts) -> Cause | None:
    """It is in doubt, and the answer may lie in a journal that nobody has read to its end."""
    since, grant = now.in_doubt_since, now.grant
    if since is None or not now.journals or grant.status not in (ACTIVE, REVOKING):
        return None
    if grant.suspect_at is None and _held_back(now) != "journal_is_not_drained":
        return None
    worst = min(now.journals, key=lambda each: (each.damage is None, each.alive, each.seen_at))
    waits = "no verdict is given" if grant.suspect_at is not None else "it is not asked again"
    return Cause(
        told=f"An answer to it may lie in {_where(worst)}, so {waits} before that is read",
        since=since,
        then=f"It is looked at again at {iso(grant.due_at)}",
        retry_at=grant.due_at,
        remedy=_read(worst),
        command=None if worst.alive and worst.damage is None else f"evergrant journals abandon {worst.id}",
    )


def _where(journal: Journal) -> str:
    if journal.damage is not None:
        return f"journal {journal.id} of {journal.host}, which is damaged ({journal.damage})"
    held = "which a living worker holds" if journal.alive else f"which nobody has held since {iso(journal.seen_at)}"
    return f"journal {journal.id} of {journal.host}, {held}"


def _read(journal: Journal) -> str | None:
    if journal.damage is not None:
        return "mend or restore its files; if they are gone for good, abandon it"
    if journal.alive:
        return None
    return f"start a worker on {journal.host} with the same EVERGRANT_HOME; if its disk is gone for good, abandon it"


def _held_back(now: Facts) -> str | None:
    """Why the guard would hold a repeat back at this client's profile."""
    since, client = now.in_doubt_since, now.client
    if since is None:
        return None
    situation = Situation(
        rotation=Rotation(client.rotation),
        age=timedelta(0),
        lease=timedelta(0),
        deadline=timedelta(0),
        journal_writable=True,
        client_paused=False,
        valve_shut=False,
        stopping=False,
        in_doubt_for=now.at - since,
        grace=client.grace,
        journals_undrained=bool(now.journals),
        access_left=now.access_left,
        life=now.grant.life,
        after_grace=client.after_grace,
    )
    held = profile_forbids(situation)
    return None if held is None else held.code


def guard_holds_it(now: Facts) -> Cause | None:
    """It is in doubt, and at its client's rotation profile to ask again too soon may kill what lives."""
    since, held = now.in_doubt_since, _held_back(now)
    if since is None or held not in _GUARDED or now.grant.status != ACTIVE:
        return None
    ends = now.grant.access_expires_at
    until = f"; its access token ends {iso(ends)}" if ends and held == "access_token_still_serves" else ""
    return Cause(
        told=f"{_doubt(now, since)}, and {_GUARDED[held]}{until}",
        since=since,
        then=f"It is looked at again at {iso(now.grant.due_at)}",
        retry_at=now.grant.due_at,
    )


def grant_is_suspect(now: Facts) -> Cause | None:
    """The provider refused its refresh token once, which proves little: it is asked again before it is judged."""
    grant = now.grant
    if grant.suspect_at is None or grant.status != ACTIVE:
        return None
    witnessed = now.client.witness_at is not None and now.client.witness_at > grant.suspect_at
    ends = grant.access_expires_at if now.access_left > timedelta(0) else None
    alone = f"once its access token has ended ({iso(ends)})" if ends else "once more"
    last = grant.suspect_at + WITNESS_WAIT
    when = "if it is refused again" if witnessed else f"if it is refused {alone}, or at {iso(last)} at the latest"
    return Cause(
        told=f"The provider refused its refresh token{_code(now)}: it is suspect"
        + ("; its access token is handed out still" if ends else ""),
        since=grant.suspect_at,
        then=f"It is asked again at {iso(grant.due_at)}; {when}, its user must consent again",
        retry_at=grant.due_at,
    )


def grant_is_refused_alone(now: Facts) -> Cause | None:
    """The provider refuses it in a word that nobody understands, while others of its client are well."""
    grant = now.grant
    if not grant.failed_alone or not grant.failures or grant.status != ACTIVE:
        return None
    name = named(grant.ref, now.client.name)
    again = asks_again(name, by_link=now.asks_by_link)
    told = refused_alone_advice(
        grant.last_error_code,
        grant.last_error_rule,
        client=now.client.name,
        grant=name,
        by_link=now.asks_by_link,
    )
    return Cause(
        told=f"The provider refuses this grant alone ({grant.error}), {many(grant.failures, 'time')}",
        since=grant.failing_since,
        then=f"It is asked again at {iso(grant.due_at)}",
        retry_at=grant.due_at,
        remedy=told.partition(": evergrant")[0],
        command=again if again in told else command_in(told),
    )


def answer_was_lost(now: Facts) -> Cause | None:
    """It is in doubt: whether the provider acted on its last refresh is unknown, and to ask again harms nothing."""
    since = now.in_doubt_since
    if since is None or now.grant.status != ACTIVE:
        return None
    if now.grant.suspect_at is not None:
        return _of_a_suspect(now, since)
    if _held_back(now) is not None:
        return None
    return Cause(
        told=f"{_doubt(now, since)}, so whether the provider has acted is unknown",
        since=since,
        then=f"It is asked again at {iso(max(now.grant.due_at, now.at))}, which kills nothing at this provider",
        retry_at=max(now.grant.due_at, now.at),
    )


def _of_a_suspect(now: Facts, since: datetime) -> Cause | None:
    """Where a refresh token serves once, the refusal comes of the doubt: what is held was spent, if it was acted on."""
    if now.client.rotation in KEEP_PREDECESSORS or since > (now.grant.suspect_at or since):
        return None
    return Cause(
        told=f"{_doubt(now, since)}; if the provider has acted, the refresh token held is spent, and the new one"
        " is lost",
        since=since,
        then=f"It is asked again at {iso(now.grant.due_at)}",
        retry_at=now.grant.due_at,
    )


def _doubt(now: Facts, since: datetime) -> str:
    """How the request ended that nobody knows the end of; its code is known until a later one has ended."""
    grant = now.grant
    if grant.doubt_repeated:
        return f"A refresh before the last one, of {iso(since)}, brought no answer of use"
    if grant.last_error_at is None or grant.last_error_at < since:  # nobody has ended it
        return f"The answer to its refresh of {iso(since)} was lost"
    if grant.last_error_code in _NO_WHOLE_ANSWER:
        return f"The answer to its last refresh was lost{_code(now)}"
    return f"Its last refresh was answered without a token set{_code(now)}"


def grant_is_failing(now: Facts) -> Cause | None:
    """Its last refreshes have failed: it is asked again after a wait that grows to five minutes, or an hour."""
    grant = now.grant
    if not grant.failures or grant.failed_alone or grant.status != ACTIVE:
        return None
    told = advice_for(grant.last_error_code, ref=grant.ref, client=now.client.name, shape=grant.last_error_shape)
    given_up = f"; dead letter {now.letter.id} is open, and it is asked every hour" if now.letter else ""
    again = f"evergrant dead-letters redrive {now.letter.id}" if now.letter else None
    return Cause(
        told=f"Its last refresh failed: {grant.error}, {many(grant.failures, 'time')} in a row{given_up}",
        since=grant.failing_since,
        then=f"It is asked again at {iso(grant.due_at)}",
        retry_at=grant.due_at,
        remedy=told,
        command=command_in(told) or again,
    )


def grant_is_throttled(now: Facts) -> Cause | None:
    """The provider asked this grant alone to wait, or told of a race: nothing was consumed."""
    grant = now.grant
    if grant.attempts <= 0 or grant.failures or grant.suspect_at or now.in_doubt_since or grant.status != ACTIVE:
        return None
    others = now.client.witness_at
    alone = others is not None and grant.last_error_at is not None and others > grant.last_error_at
    return Cause(
        told=f"The provider asked this grant to wait ({grant.error})"
        + (f", and others of {now.client.name} are renewed meanwhile" if alone else ""),
        since=grant.last_error_at,
        then=f"It is asked again at {iso(grant.due_at)}",
        retry_at=grant.due_at,
    )


def grant_was_renewed_too_lately(now: Facts) -> Cause | None:
    """The provider limits how often one grant may be renewed, and its access token is short."""
    grant, least = now.grant, now.client.grant_interval
    if least is None or grant.asked_at is None or grant.status != ACTIVE or now.access_left > least:
        return None
    free = grant.asked_at + least
    if free <= now.at:
        return None
    return Cause(
        told=f"Its provider lets one grant be renewed every {length(least)}, and it was asked"
        f" {length(now.at - grant.asked_at)} ago",
        since=grant.asked_at,
        then=f"It may be asked again at {iso(free)}",
        retry_at=free,
    )


def grant_ends_soon(now: Facts) -> Cause | None:
    """Its refresh token or its consent ends, and renewing will not mend that, or nobody renews it."""
    ends, grant = now.grant.ends_soon_at, now.grant
    if ends is None:
        return None
    if ends <= now.at:
        return _has_ended(now, ends)
    when = f"ends at {iso(ends)}, in {length(ends - now.at)}"
    if ends != grant.consent_expires_at:
        return Cause(
            told=f"Its refresh token {when}: a renewal would put that off, and none comes",
            then=f"From {iso(ends)} on only its user can mend it",
            retry_at=grant.due_at,
            remedy="mend before that what holds it up",
        )
    seen = (
        "no renewal has put that off so far" if ends == grant.refresh_expires_at else "renewing does not put that off"
    )
    return Cause(
        told=f"Its {'refresh token' if ends == grant.refresh_expires_at else 'consent'} {when}: {seen}",
        then=f"From {iso(ends)} on only its user can mend it",
        remedy="ask its user to connect again before that",
        command=asks_again(named(now.grant.ref, now.client.name), by_link=now.asks_by_link),
    )


def _has_ended(now: Facts, ends: datetime) -> Cause:
    """Its end has passed, and nobody has judged it yet: what it still does its provider may end at any time."""
    what = "consent" if ends == now.grant.consent_expires_at != now.grant.refresh_expires_at else "refresh token"
    return Cause(
        told=f"Its {what} ended at {iso(ends)}, {length(now.at - ends)} ago",
        then="Only its user can mend it; until then its provider may refuse it at any time",
        remedy="ask its user to connect again now",
        command=asks_again(named(now.grant.ref, now.client.name), by_link=now.asks_by_link),
    )


def _code(now: Facts) -> str:
    return f" ({now.grant.error})" if now.grant.last_error_code else ""


# Where nothing is wrong: what it is about


def request_is_under_way(now: Facts) -> Cause | None:
    """A worker asks the provider just now."""
    if now.grant.started_at is None or not now.under_lease:
        return None
    return Cause(
        told="A worker asks the provider for it just now",
        since=now.grant.started_at,
        then=f"Its answer is stored as it comes; if none does, it is looked at again at {iso(now.grant.due_at)}",
        retry_at=now.grant.due_at,
        rests=True,
    )


def grant_is_handed_out(now: Facts) -> Cause | None:
    """Beat has handed it to the workers, and one takes it up in its turn."""
    if now.grant.claimed_at is None or not now.under_lease:
        return None
    return Cause(
        told="Beat has handed it to the workers",
        since=now.grant.claimed_at,
        then=f"A worker takes it up within moments; if none does, it is handed out anew at {iso(now.grant.due_at)}",
        retry_at=now.grant.due_at,
        rests=True,
    )


def grant_is_due(now: Facts) -> Cause | None:
    """It is due, and beat takes it within a second."""
    if now.grant.status != ACTIVE or now.grant.due_at > now.at:
        return None
    late = now.at - now.grant.due_at
    if late < LATE:
        return Cause(
            told="It is due", since=now.grant.due_at, then="Beat takes it within a second", retry_at=now.at, rests=True
        )
    return Cause(
        told=f"It is due for {length(late)}, and no beat has taken it: somebody's open transaction may hold it",
        since=now.grant.due_at,
        then="Beat tries twice a second",
        retry_at=now.at,
        remedy="search the log of beat for beat.locked and beat.tick_failed",
        command="evergrant status",
    )


def grant_sleeps(now: Facts) -> Cause | None:
    """It is kept on demand: it is renewed when somebody reads it, and now and then so that it does not die."""
    if not now.grant.on_demand or now.grant.status != ACTIVE:
        return None
    lives = now.access_left > timedelta(0)
    token = "its access token lives" if lives else "its access token has ended"
    return Cause(
        told=f"It sleeps, for it is kept on demand; {token}",
        since=now.grant.refreshed_at,
        then=f"It is renewed within seconds when somebody reads it, and by itself at {iso(now.grant.due_at)}",
        retry_at=now.grant.due_at,
        rests=True,
    )


def grant_is_well(now: Facts) -> Cause | None:
    """Nothing is wrong with it."""
    ends = now.grant.access_expires_at
    lives = ends is not None and now.access_left > timedelta(0)
    told = f"It is well: its access token lives until {iso(ends)}" if lives and ends else "It is well, and due soon"
    return Cause(
        told=told,
        since=now.grant.refreshed_at or now.grant.created_at,
        then=f"It is renewed at {iso(now.grant.due_at)}",
        retry_at=now.grant.due_at,
        rests=True,
    )
