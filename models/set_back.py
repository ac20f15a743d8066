"""Set back: what was written while the database's clock was ahead is moved to the clock that it was set back to.

Rows say when something is due, until when a claim or a pause holds, and when a process was seen last. A clock that ran
three hours ahead leaves all of that three hours in the future: nothing would be due until then, and whatever died would
be taken for alive. Ticks tell it: beat writes one every few seconds, so none is later than now unless the clock was
set back. What is to be done is done earlier by as much, for being early costs a request and being late a grant.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Connection, TextClause, text

LEAST: Final = timedelta(seconds=10)  # what servers of one cluster may differ by, when another one takes over


@dataclass(frozen=True, slots=True, kw_only=True)
class Instants:
    """The columns of a table that hold instants, by what they are.

    `was`: something happened; never later than now. `to_do`: something will be tried from then on. `ends`: reckoned
    from `begin`, an instant of the same row, and wrong where that is. `left`: the date of an operator or a provider, or
    one that nothing waits for.
    """

    was: Sequence[str] = ()
    to_do: Sequence[str] = ()
    ends: Sequence[str] = ()
    begin: str = "created_at"
    left: Sequence[str] = ()

    @property
    def all(self) -> set[str]:
        """The names of all of them."""
        return {*self.was, *self.to_do, *self.ends, *self.left}


# A grant under way keeps the start of its attempt and of its doubt, which the worker that is at it compares with; its
# lease is as long from now as a lease may be.
GRANTS = Instants(
    was=(
        "created_at",
        "refreshed_at",
        "asked_at",
        "last_error_at",
        "failing_since",
        "refused_since",
        "suspect_at",
        "spent_refused_at",
        "rejected_at",
        "claimed_at",
    ),
    ends=("access_expires_at", "older_access_ends_at", "refresh_expires_at"),
    begin="coalesce(refreshed_at, created_at)",
    left=("due_at", "started_at", "doubt_since", "consent_expires_at"),
)
TABLES: Mapping[str, Instants] = {
    "asked_labels": Instants(was=("requested_at", "answered_at"), to_do=("due_at",)),
    "chores": Instants(was=("done_at",), to_do=("due_at",)),
    "clients": Instants(
        was=("former_secret_at", "secret_refused_at"), left=("created_at", "updated_at", "revocations_accepted_at")
    ),
    "connect_requests": Instants(was=("created_at", "used_at"), ends=("expires_at",)),
    "dead_letters": Instants(was=("first_failed_at", "dead_at", "resolved_at"), to_do=("look_at",)),
    "erasures": Instants(was=("requested_at", "erased_at")),
    "former_tokens": Instants(
        was=("stored_at", "tried_at", "known_dead_at"), ends=("access_expires_at",), begin="stored_at"
    ),
    "grants": GRANTS,
    "held_revocations": Instants(was=("requested_at",)),
    "installation": Instants(was=("incident_at",), left=("adopted_at", "public_url_seen_at")),
    "journals": Instants(was=("opened_at", "seen_at", "drained_at", "abandoned_at", "damaged_at")),
    "notices": Instants(was=("received_at",)),
    "processes": Instants(was=("started_at", "seen_at", "consumed_at"), left=("clock_at",)),
    "refresh_requests": Instants(was=("requested_at",)),
    "revocations": Instants(
        was=("requested_at", "failing_since", "last_error_at", "current_dead_at", "done_at"), to_do=("due_at",)
    ),
    "ticks": Instants(was=("at",)),
    "tickets": Instants(was=("created_at", "used_at", "revoked_at"), ends=("expires_at",)),
    "valves": Instants(
        was=("changed_at", "minute_at", "last_success_at", "deaths_held_at", "deaths_accepted_at"),
        to_do=("paused_until", "next_slot_at"),
    ),
    "visits": Instants(was=("began_at", "answered_at", "offered_at", "ended_at")),
    "waiting_requests": Instants(was=("asked_at",), to_do=("try_at",)),
    "webhook_deliveries": Instants(was=("queued_at", "first_tried_at", "ended_at"), to_do=("try_at", "leased_until")),
    "webhooks": Instants(
        was=("paused_at", "failing_since", "last_success_at", "stopped_at", "resumed_at", "created_at"),
        to_do=("retry_at",),
        left=("former_secret_until", "catch_up_from"),
    ),
    "witnesses": Instants(
        was=("refused_since", "witness_at", "slowed_at", "minute_at", "passing_at", "mixed_since", "remaining_at"),
        to_do=("scarce_until",),
    ),
}
# Told as they were written, or of those who may enter: no beat may change them.
LEFT: Final = frozenset({"applications", "application_keys", "application_roles", "events", "revocation_asks"})

# Who locked the newest tick is at it already, and for whoever waited for that it is the newest no more.
FOUND = text("""
select clock.at, t.at - clock.at as by
from evergrant.ticks t cross join (select clock_timestamp() as at) clock
where t.at = (select max(at) from evergrant.ticks) and t.at > clock.at + cast(:least as interval)
for no key update of t skip locked
""")
GRANT_IS_DUE = """
due_at = case
    when due_at <= :at then due_at
    when claimed_at is null and started_at is null then due_at - :by
    else least(due_at, :at + (select c.attempt_lease from evergrant.clients c where c.id = grants.client_id))
end,
doubt_since = case
    when doubt_since > :at and claimed_at is null and started_at is null then least(doubt_since - :by, :at)
    else doubt_since
end
"""

# A million grants take half a minute; cut off and taken back, none would ever be moved.
LONG = text("set local statement_timeout = '15min'")


def _statement(table: str, instants: Instants) -> TextClause:
    """The rows that somebody has locked are left as they are: a stranger's lock must not keep all others waiting."""
    to_do = (*instants.to_do, "due_at") if table == "grants" else instants.to_do
    which = " or ".join(f"{name} > :at" for name in (*instants.was, *to_do))
    changes = [
        f"{name} = case when {name} > :at then least({name} - :by, :at) else {name} end" for name in instants.was
    ]
    changes += [f"{name} = case when {name} > :at then {name} - :by else {name} end" for name in instants.to_do]
    changes += [
        f"{name} = case when {instants.begin} > :at then {name} - :by else {name} end" for name in instants.ends
    ]
    if table == "grants":
        changes.append(GRANT_IS_DUE)
    name = f"evergrant.{table}"
    return text(
        f"update {name} set {', '.join(changes)} where ctid = any (array("  # noqa: S608  # constants
        f"select ctid from {name} where {which} for no key update skip locked))"
    )


STATEMENTS: Mapping[str, TextClause] = {table: _statement(table, instants) for table, instants in TABLES.items()}


def put_right(connection: Connection) -> timedelta | None:
    """Move what lies ahead of a clock that was set back; returns by how much it was, None where it was not.

    One statement a table, in one transaction: whoever else looks sees all of it, or nothing.
    """
    found: Any = connection.execute(FOUND, {"least": LEAST}).one_or_none()
    if found is None:
        return None
    connection.execute(LONG)
    for statement in STATEMENTS.values():
        connection.execute(statement, {"at": found.at, "by": found.by})
    by: timedelta = found.by
    return by
