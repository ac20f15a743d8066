"""What many statements ask of a row, said once: fragments of SQL, put into a statement as `{NAME}` of an f-string.

They speak of a grant as `g`, of a client as `c`, of a journal as `j`, of a held revocation as `h`; `of` makes them
speak of another alias.
Constants of ours only, so nothing from outside is ever part of a statement's text.
"""

import re
from typing import Final

# Asked for at any time, and not taken back: also where the revocation has ended by now.
END_IS_ASKED_FOR: Final = "exists (select from evergrant.revocations r where r.grant_id = g.id)"

# Of what an asker's limit holds, `h`: what it wants was not reached by another way.
IS_STILL_HELD: Final = """(
        not exists (select from evergrant.revocations r where r.grant_id = h.grant_id)
        or h.erase and not exists (select from evergrant.erasures e where e.grant_id = h.grant_id)
    )"""

# The row that holds its ref, and the rows of earlier consents. The index of living refs has the same condition.
IS_LIVING: Final = "g.status not in ('revoking', 'revoked')"
IS_ENDING: Final = "g.status in ('revoking', 'revoked')"

# A claim or an attempt; under way it is for as long as `due_at`, the lease's end, is to come.
SOMEBODY_HAS_IT: Final = "(g.claimed_at is not null or g.started_at is not null)"
NOBODY_HAS_IT: Final = "(g.claimed_at is null and g.started_at is null)"

# The valve `v` is shut until its canary's back-off ends, and that canary was never sent: its claim has lapsed, and so
# starts nothing. Whatever asked to wait since has moved `paused_until`.
CANARY_HAS_LAPSED: Final = """exists (
        select from evergrant.grants n
        where n.id = v.canary_grant_id and n.claimed_at is not null and n.started_at is null and n.due_at <= clock.at
            and v.paused_until = n.claimed_at + v.pause_seconds * interval '1 second'
    )"""

# Nobody has read it to its end, and nobody has said that its disk is gone: it may hold an answer.
IS_UNDRAINED: Final = "j.drained_at is null and j.abandoned_at is null"
A_JOURNAL_IS_UNDRAINED: Final = f"""exists (
        select from evergrant.journals j
        where j.id = any (g.doubt_journals) and {IS_UNDRAINED}
    )"""  # a constant
# In this order and by `@>`, so that the index of the journals in doubt serves.
WAITS_FOR_IT: Final = "g.doubt_since is not null and g.doubt_journals @> array[j.id]"

# Somebody wants it refreshed early: because an application got a 401 for the access token held, or just so.
REJECTION_IS_REPORTED: Final = """exists (
        select from evergrant.refresh_requests w
        where w.grant_id = g.id and w.generation = g.generation and w.rejected
    )"""
REFRESH_IS_REQUESTED: Final = """exists (
        select from evergrant.refresh_requests w
        where w.grant_id = g.id and w.generation = g.generation and not w.rejected
    )"""

# Its last attempt ended with a refusal of the token that was presented: in the words of RFC 6749, or as a rule of the
# provider's file reads them, and under credentials that are known to be good.
TOKEN_WAS_REFUSED: Final = """case
            when g.last_error_rule is null then g.last_error_code = 'invalid_grant'
            else g.last_error_rule ~ '^[0-9]+: (dead|consent)' and right(g.last_error_code, 9) <> '_unproven'
        end"""  # noqa: S105  # a condition
# An end comes near fourteen days ahead, or at half of it where the whole is shorter. Most are far away: that is asked
# first, for the rest of the arithmetic costs more than all else of a pass.
_IN_FOURTEEN_DAYS = "statement_timestamp() + interval '336 hours'"  # without a calendar, and so for next to nothing
_CONSENT_LIFE = "(g.consent_expires_at - g.created_at)"
_REFRESH_LIFE = "(g.refresh_expires_at - coalesce(g.refreshed_at, g.created_at))"
# An imported one was given before it came here: nobody knows when, so its end alone counts. Asked last, and by index.
_HALF_OF_ITS_CONSENT_IS_OVER = f"""(
        g.consent_expires_at - {_CONSENT_LIFE} / 2 <= statement_timestamp()
        or exists (
            select from evergrant.events e where e.grant_id = g.id and e.type = 'grant.imported'
            offset 0  -- by its guess the planner would read all events
        )
    )"""
CONSENT_ENDS_SOON: Final = f"""(
        g.consent_expires_at <= {_IN_FOURTEEN_DAYS} and {_HALF_OF_ITS_CONSENT_IS_OVER}
    )"""
_REFRESH_TOKEN_COMES_NEAR = f"""(
        g.refresh_expires_at <= {_IN_FOURTEEN_DAYS}
        and g.refresh_expires_at - least(interval '14 days', {_REFRESH_LIFE} / 2) <= statement_timestamp()
        and g.refresh_expires_at is distinct from g.consent_expires_at  -- of that one it is told already
    )"""
# A renewal puts off the end of a refresh token: only where none comes by itself it is told. That is so where an
# operator's pause stops it, and where it has failed for an hour, or for an eighth of a shorter life.
IS_STUCK: Final = f"""(
        g.status = 'paused'
        or least(g.failing_since, g.suspect_at, g.doubt_since)
            < statement_timestamp() - least(interval '1 hour', {_REFRESH_LIFE} / 8)
    )"""
IS_NOT_RENEWED: Final = f"""(
        {IS_STUCK}
        or exists (select from evergrant.valves v where v.client_id = g.client_id and v.paused_by_operator)
    )"""
REFRESH_TOKEN_ENDS_SOON: Final = f"({_REFRESH_TOKEN_COMES_NEAR} and {IS_NOT_RENEWED})"
# The same, asked by somebody for a time of his own instead of fourteen days: one definition for lists and for counts.
ENDS_WITHIN: Final = f"""(
        g.consent_expires_at - cast(:expiring_within as interval) <= statement_timestamp()
            and {_HALF_OF_ITS_CONSENT_IS_OVER}
        or g.refresh_expires_at - least(cast(:expiring_within as interval), {_REFRESH_LIFE} / 2)
            <= statement_timestamp()
            and g.refresh_expires_at is distinct from g.consent_expires_at and {IS_NOT_RENEWED}
    )"""
MAY_EXPIRE: Final = "g.status in ('active', 'paused')"  # whom it is worth while to tell about

# What was last said of a client's confirmations; one that was changed since may have another address.
LAST_CONFIRMATION: Final = """
    select e.type, e.reason, e.occurred_at from evergrant.events e
    where e.grant_id is null and e.client_id = c.id and e.type in ('client.unconfirmed', 'client.confirmed')
        and e.occurred_at > c.updated_at
    order by e.id desc limit 1"""

# Asked once a statement, not once a row. Of the parameters it needs `environment`.
DATABASE_IS_FIT: Final = "(select evergrant.database_state(cast(:environment as text))) = 'fit'"


def ends_soon_at(*, not_renewed: str) -> str:
    """The nearer of a grant's ends that come near, where its refresh token is `not_renewed`; null: none does."""
    return f"""case
        when g.consent_expires_at <= {_IN_FOURTEEN_DAYS} or g.refresh_expires_at <= {_IN_FOURTEEN_DAYS} then least(
            case when {CONSENT_ENDS_SOON} then g.consent_expires_at end,
            case when {_REFRESH_TOKEN_COMES_NEAR} and {not_renewed} then g.refresh_expires_at end
        )
    end"""


def of(alias: str, predicate: str, *, was: str = "g") -> str:
    """Make a predicate speak of a row that a statement calls `alias`, where it spoke of `was`."""
    return re.sub(rf"\b{was}\.", f"{alias}.", predicate)
