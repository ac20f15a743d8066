"""The fleet at a glance: counts, lateness, runway, valves, and who is alive. Reads only."""

from datetime import timedelta

from sqlalchemy import Connection, RowMapping, TextClause, text

# Beats, workers and webs say every five seconds that they live; this allows for a slow machine.
SILENT_AFTER = timedelta(seconds=30)

# One pass over the grants. Runway: until the first access token that is kept warm lapses, if all stood still, and how
# many will have lapsed 10, 20 and 40 minutes from now.
BY_CLIENT = text("""
select c.id, c.name, c.provider, c.rate_per_minute,
    v.paused_by_operator, v.paused_until, v.pause_reason,
    case when n.suspect > 0 then v.deaths_held_at end as deaths_held_at, coalesce(n.active, 0) as active,
    coalesce(n.paused, 0) as paused, coalesce(n.needs_consent, 0) as needs_consent,
    coalesce(n.revoking, 0) as revoking, coalesce(n.revoked, 0) as revoked, coalesce(n.due, 0) as due,
    coalesce(n.under_way, 0) as under_way, coalesce(n.failing, 0) as failing,
    coalesce(n.in_doubt, 0) as in_doubt, coalesce(n.suspect, 0) as suspect, coalesce(n.lapsed, 0) as lapsed,
    n.lateness, n.runway, coalesce(n.ending_10m, 0) as ending_10m, coalesce(n.ending_20m, 0) as ending_20m,
    coalesce(n.ending_40m, 0) as ending_40m
from evergrant.clients c
left join evergrant.valves v on v.client_id = c.id
left join (
    select g.client_id,
        count(*) filter (where g.active) as active,
        count(*) filter (where g.status = 'paused' and not g.ending) as paused,
        count(*) filter (where g.status = 'needs_consent' and not g.ending) as needs_consent,
        count(*) filter (where g.status = 'revoking' or g.ending and g.status <> 'revoked') as revoking,
        count(*) filter (where g.status = 'revoked') as revoked,
        count(*) filter (where g.active and g.due_at <= g.at) as due,
        count(*) filter (where g.due_at > g.at and (g.claimed_at is not null or g.started_at is not null))
            as under_way,
        count(*) filter (where g.active and g.failures > 0) as failing,
        count(*) filter (where g.active and g.doubt_since is not null) as in_doubt,
        count(*) filter (where g.active and g.suspect_at is not null) as suspect,
        count(*) filter (where g.active and g.warm and g.access_expires_at <= g.at) as lapsed,
        max(g.at - g.due_at) filter (where g.active and g.due_at <= g.at) as lateness,
        min(g.access_expires_at - g.at) filter (where g.active and g.warm and g.access_expires_at > g.at)
            as runway,
        count(*) filter (where g.active and g.warm and g.left > '0' and g.left <= '10 minutes') as ending_10m,
        count(*) filter (where g.active and g.warm and g.left > '0' and g.left <= '20 minutes') as ending_20m,
        count(*) filter (where g.active and g.warm and g.left > '0' and g.left <= '40 minutes') as ending_40m
    from (
        select g.client_id, g.status, g.due_at, g.claimed_at, g.started_at, g.failures, g.doubt_since,
            g.suspect_at, g.access_expires_at, clock.at, g.status = 'active' and r.id is null as active,
            r.id is not null as ending,
            coalesce(g.keep, k.keep) = 'warm' as warm, g.access_expires_at - clock.at as left
        from evergrant.grants g
        join evergrant.clients k on k.id = g.client_id
        cross join (select clock_timestamp() as at) clock
        left join evergrant.revocations r on r.grant_id = g.id
    ) g
    group by g.client_id
) n on n.client_id = c.id
order by c.name
""")

PROCESSES = text("""
select kind, host, pid, metrics_port, started_at, seen_at,
    seen_at > clock_timestamp() - cast(:silent_after as interval) as alive
from evergrant.processes order by kind, host, pid
""")

OPEN_LETTERS = text("""
select cause, count(*) as count from evergrant.dead_letters where resolved_at is null group by cause order by cause
""")

REVOCATIONS = text("""
select status, count(*) as count from evergrant.revocations where status in ('queued', 'dead') group by status
""")

# A journal that nobody holds and that grants wait for needs a human, sooner or later.
WAITED_FOR = text("""
select count(*) as count from evergrant.journals j
where j.drained_at is null and j.abandoned_at is null
    and j.seen_at < clock_timestamp() - cast(:silent_after as interval)
    and exists (select from evergrant.grants g where g.doubt_since is not null and g.doubt_journals @> array[j.id])
""")


def by_client(connection: Connection) -> list[RowMapping]:
    """Counts and valve of each client, by name."""
    return list(connection.execute(BY_CLIENT).mappings())


# What there is to be kept: the lives of those that are kept warm, of which some never had a token set.
KEPT = text("""
select c.name, c.provider, c.overrides, c.keep,
    count(*) filter (where g.warm) as warm,
    count(*) filter (where g.warm and g.life is null) as unknown_life,
    coalesce(sum(1 / extract(epoch from g.life)::float8) filter (where g.warm and g.life > '0'), 0) as per_second,
    count(*) filter (where not g.warm) as on_demand
from evergrant.clients c
left join lateral (
    select a.life, coalesce(a.keep, c.keep) = 'warm' as warm from evergrant.grants a
    where a.client_id = c.id and a.status = 'active'
        and not exists (select from evergrant.revocations r where r.grant_id = a.id)
) g on true
group by c.id
order by c.name
""")


def kept(connection: Connection) -> list[RowMapping]:
    """What each client has to keep: grants warm and on demand, and how often a second the lives of the warm ones end.

    `unknown_life`: those of the warm ones whose life is not known yet, for which `per_second` has nothing.
    """
    return list(connection.execute(KEPT).mappings())


def processes(connection: Connection) -> list[RowMapping]:
    """Every beat, worker and web that did not sign off, and whether it was heard of lately."""
    return list(connection.execute(PROCESSES, {"silent_after": SILENT_AFTER}).mappings())


def open_dead_letters(connection: Connection) -> dict[str, int]:
    """The open dead letters by cause."""
    return _counts(connection, OPEN_LETTERS)


def open_revocations(connection: Connection) -> dict[str, int]:
    """The revocations that have not ended, by status: queued or dead."""
    return _counts(connection, REVOCATIONS)


def journals_waited_for(connection: Connection) -> int:
    """Journals without a living holder that grants in doubt wait for."""
    return int(connection.execute(WAITED_FOR, {"silent_after": SILENT_AFTER}).scalar_one())


def clock(connection: Connection) -> RowMapping:
    """The database's time and its name for this environment."""
    query = """
        select clock_timestamp() as at, (select environment from evergrant.installation) as environment"""
    return connection.execute(text(query)).mappings().one()


def _counts(connection: Connection, query: TextClause) -> dict[str, int]:
    return {str(what): int(count) for what, count in connection.execute(query)}
