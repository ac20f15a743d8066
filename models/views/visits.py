"""Visits at a glance: who waits for an exchange and why, how those of the last hour ended, and how long they took.

By small indexes alone: of what waits, and of what ended when. Whoever looks every few seconds scans no table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import Connection, RowMapping, text

from models.predicates import IS_LIVING
from models.states.visit import VisitOutcome, VisitReason

WITHIN: Final = timedelta(hours=1)
QUANTILES: Final = ("0.5", "0.95", "1")

WAITING = text("""
select c.name as client, v.held_by, a.is_sent, count(*) as visits, min(v.answered_at) as since,
    clock_timestamp() - min(v.answered_at) as lag
from evergrant.visits v
cross join lateral (select v.held_by is null and v.journal_id is not null as is_sent) a
join evergrant.tickets t on t.id = v.ticket_id
join evergrant.clients c on c.id = t.client_id
where v.sealed_answer is not null and v.ended_at is null
    and v.answered_at <= clock_timestamp() - cast(:longer_than as interval)
group by c.name, v.held_by, a.is_sent
order by c.name, since
""")
# One pass for what ended how and how long it took: 0.4 s for sixty thousand in an hour, a millisecond for a hundred. A
# grant says that its customer is connected, though whoever sent the code had to write that nobody knows. `recovered`:
# one of the same client has connected since. `seconds`, in a row without an outcome, are those of a client's customers
# who brought a code.
HOUR = text(f"""
with ended as materialized (
    select v.id, t.client_id, v.outcome, v.reason, v.ended_at,
        greatest(extract(epoch from v.ended_at - v.answered_at)::float8, 0) as seconds
    from evergrant.visits v
    join evergrant.tickets t on t.id = v.ticket_id
    where v.ended_at > statement_timestamp() - cast(:within as interval)
),
found as materialized (
    select e.id from ended e join evergrant.grants g on g.id = e.id and {IS_LIVING}
    where e.reason = '{VisitReason.EXCHANGE_UNCLEAR.value}'
),
told as (
    select e.client_id, e.ended_at, e.seconds,
        case when f.id is null then e.outcome else '{VisitOutcome.CONNECTED.value}' end as outcome,
        case when f.id is null then e.reason end as reason
    from ended e left join found f on f.id = e.id
),
counted as (
    select t.client_id, t.outcome, t.reason, count(*) as visits, max(t.ended_at) as last_at,
        percentile_disc(cast(:quantiles as float8[])) within group (order by t.seconds) filter (
            where t.outcome = '{VisitOutcome.CONNECTED.value}'
                or t.outcome = '{VisitOutcome.FAILED.value}'
                and t.reason not in ('{VisitReason.BEGUN_AGAIN.value}', '{VisitReason.PROVIDER_ERROR.value}')
        ) as seconds,
        max(t.ended_at) filter (where t.outcome = '{VisitOutcome.CONNECTED.value}') as connected_at
    from told t
    group by grouping sets ((t.client_id, t.outcome, t.reason), (t.client_id))
)
select c.name as client, n.outcome, n.reason, n.visits, n.last_at, n.seconds,
    coalesce(max(n.connected_at) over (partition by n.client_id) > n.last_at, false) as recovered
from counted n
join evergrant.clients c on c.id = n.client_id
order by c.name, n.outcome, n.reason nulls first
""")  # noqa: S608  # constants


@dataclass(frozen=True, slots=True)
class Hour:
    """What ended within the last hour.

    `seconds`: from a customer's return to the end, by client and quantile, of those who brought a code.
    """

    ended: Sequence[RowMapping]
    seconds: Mapping[str, Mapping[str, float]]


def waiting(connection: Connection, *, longer_than: timedelta = timedelta(0)) -> list[RowMapping]:
    """How many customers of each client wait for their exchange, and since when.

    `held_by`: why nothing could be sent yet; `is_sent`: it was, and no answer has come.
    """
    return list(connection.execute(WAITING, {"longer_than": longer_than}).mappings())


def hour(connection: Connection) -> Hour:
    """How many visits of each client ended how and why within the hour, and how long they took."""
    asked = {"within": WITHIN, "quantiles": [float(each) for each in QUANTILES]}
    rows = connection.execute(HOUR, asked).mappings().all()
    of_clients = [row for row in rows if row["outcome"] is None and row["seconds"] is not None]
    return Hour(
        [row for row in rows if row["outcome"] is not None],
        {row["client"]: dict(zip(QUANTILES, row["seconds"], strict=True)) for row in of_clients},
    )
