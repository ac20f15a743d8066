"""Tickets as operators see them: whose, since when, and what became of each."""

from sqlalchemy import Connection, RowMapping, text

from models.states.visit import TicketState, VisitReason
from models.visit import OUTCOME, REASON

LISTED = text(f"""
select f.id, f.ref, f.client, f.state, f.reason, f.code, f.labels, f.scopes, f.return_to, f.locale,
    f.other_account_allowed, f.created_at, f.created_by, f.expires_at, f.used_at, f.answered_at, f.held_by, f.ended_at
from (
    select t.id, t.ref, c.name as client, t.labels, t.scopes, t.return_to, t.locale, t.other_account_allowed,
        t.created_at, t.created_by, t.expires_at, t.used_at, v.answered_at, v.ended_at, {REASON} as reason, v.code,
        case when {OUTCOME} is null then v.held_by end as held_by,
        case
            when t.revoked_at is not null and {OUTCOME} is null then '{TicketState.REVOKED.value}'
            when {OUTCOME} is not null and v.reason is distinct from '{VisitReason.BEGUN_AGAIN.value}' then {OUTCOME}
            when v.answered_at is not null or r.expires_at > clock_timestamp() then '{TicketState.USED.value}'
            when t.expires_at <= clock_timestamp() then '{TicketState.EXPIRED.value}'
            when t.used_at is not null then '{TicketState.USED.value}'
            else '{TicketState.WAITS.value}'
        end as state
    from evergrant.tickets t
    join evergrant.clients c on c.id = t.client_id
    left join lateral (
        select id, answered_at, journal_id, held_by, ended_at, outcome, reason, code from evergrant.visits
        where ticket_id = t.id order by began_at desc limit 1
    ) v on true
    left join evergrant.connect_requests r on r.id = v.id
    where (cast(:client as text) is null or c.name = :client) and (cast(:ref as text) is null or t.ref = :ref)
) f
where cast(:state as text) is null or f.state = :state
order by f.created_at desc
limit :most
""")  # noqa: S608  # constants


def listed(
    connection: Connection, *, client: str | None, ref: str | None, state: str | None, most: int
) -> list[RowMapping]:
    """The newest tickets, of one client, one ref or in one state."""
    asked = {"client": client, "ref": ref, "state": state, "most": most}
    return list(connection.execute(LISTED, asked).mappings())
