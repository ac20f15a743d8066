-- The surface for other applications. SECURITY DEFINER with a pinned search_path; they only insert, so a
-- caller's open transaction never blocks a claim or a settle.

-- Whether this is the database that was adopted, and has all its commits: only `fit` lets anything be claimed or sent.
-- copied: another cluster, name or environment. rewound: another WAL timeline (pg_control_checkpoint() would still
-- show the old one after a promotion), or a journal knows of commits that are missing here.
create function evergrant.database_state(environment text default null)
returns text
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select case
        when i.id is null then 'not_adopted'
        when i.system_identifier <> (select system_identifier::text from pg_control_system())
            or i.database_name <> current_database()
            or i.environment <> coalesce(database_state.environment, i.environment)
        then 'copied'
        when pg_is_in_recovery() then 'standby'
        when i.incident_at is not null or i.timeline <> substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)
        then 'rewound'
        else 'fit'
    end
    from (values (1)) one left join evergrant.installation i on true
$$;

-- The one live row of a ref, or its newest ended one.
create function evergrant.find_grant(ref text, client text)
returns evergrant.grants
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    found_row evergrant.grants;
    clients_found bigint;
begin
    select count(distinct g.client_id) into clients_found
    from evergrant.grants g join evergrant.clients c on c.id = g.client_id
    where g.ref = find_grant.ref and (find_grant.client is null or c.name = find_grant.client);
    if clients_found > 1 then
        raise exception using errcode = 'P0003',
            message = format('ref %L belongs to %s clients', find_grant.ref, clients_found),
            hint = 'Name the client, too.';
    end if;
    select g.* into found_row
    from evergrant.grants g join evergrant.clients c on c.id = g.client_id
    where g.ref = find_grant.ref and (find_grant.client is null or c.name = find_grant.client)
    order by (g.status in ('revoking', 'revoked')), g.created_at desc
    limit 1;
    return found_row;
end
$$;

-- Who asks. A server that asks for others may name them, after itself: `evergrant_web/billing`.
create function evergrant.asker()
returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select concat_ws('/', session_user, nullif(current_setting('evergrant.application', true), '')) $$;

-- Ask for an early refresh; returns the generation to wait for in the view. Whoever names a generation says that its
-- access token was rejected: where no other grant can be a witness, that counts before the last one is declared dead.
create function evergrant.request_refresh(ref text, client text default null, if_generation bigint default null)
returns bigint
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    held evergrant.grants := evergrant.find_grant(ref, client);
    reports boolean := if_generation is not null;
begin
    if held.id is null then
        raise exception using errcode = 'P0002', message = format('unknown ref %L', ref);
    end if;
    if if_generation is not null and if_generation <> held.generation then
        return held.generation;
    end if;
    if held.refreshed_at > clock_timestamp() - least(interval '60 seconds', held.life / 4) then
        return held.generation;
    end if;
    insert into evergrant.refresh_requests (client_id, grant_id, generation, rejected, requested_by)
    select held.client_id, held.id, held.generation, reports, evergrant.asker()
    where not exists (
        select from evergrant.refresh_requests w
        where w.grant_id = held.id and w.generation = held.generation and w.rejected = reports
    );
    notify evergrant_work;
    return held.generation + 1;
end
$$;

-- Ask for a grant to be killed at the provider; returns the revocation's id.
create function evergrant.request_revocation(
    ref text, client text default null, reason text default null, idempotency_key text default null,
    missing_ok boolean default false, erase boolean default false
)
returns bigint
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    held evergrant.grants := evergrant.find_grant(ref, client);
    made bigint;
    made_for text;
begin
    if held.id is null then
        if missing_ok then
            return null;
        end if;
        raise exception using errcode = 'P0002', message = format('unknown ref %L', ref);
    end if;
    insert into evergrant.revocations (client_id, grant_id, ref, reason, idempotency_key, requested_by)
    values (held.client_id, held.id, held.ref, reason, idempotency_key, evergrant.asker())
    on conflict do nothing
    returning id into made;
    if made is null then
        select r.id, r.ref into made, made_for from evergrant.revocations r
        where r.grant_id = held.id
            or (r.client_id = held.client_id and r.idempotency_key = request_revocation.idempotency_key)
        order by (r.grant_id = held.id) desc
        limit 1;
        if made_for <> held.ref then
            raise exception using errcode = '22023',
                message = format('idempotency key %L belongs to the revocation of ref %L', idempotency_key, made_for);
        end if;
    end if;
    if erase then
        insert into evergrant.erasures (grant_id)
        select g.id from evergrant.grants g where g.client_id = held.client_id and g.ref = held.ref
        on conflict do nothing;
    end if;
    notify evergrant_work;
    return made;
end
$$;

revoke all on function evergrant.asker() from public;
revoke all on function evergrant.find_grant(text, text) from public;
revoke all on function evergrant.request_refresh(text, text, bigint) from public;
revoke all on function evergrant.request_revocation(text, text, text, text, boolean, boolean) from public;

-- Whoever reads a grant that is kept on demand when little of its access token is left, or nothing, wishes for the next
-- one by that: so one that is read now and then always has one, and one that nobody reads sleeps.
create function evergrant.note_read(grant_id uuid)
returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into evergrant.refresh_requests (client_id, grant_id, generation, requested_by)
    select g.client_id, g.id, g.generation, evergrant.asker()
    from evergrant.grants g
    join evergrant.clients c on c.id = g.client_id
    where g.id = note_read.grant_id and g.status = 'active' and coalesce(g.keep, c.keep) = 'on-demand'
        and g.access_expires_at < clock_timestamp() + g.life / 3
        and (g.refreshed_at is null or g.refreshed_at <= clock_timestamp() - least(interval '60 seconds', g.life / 4))
        and not exists (
            select from evergrant.refresh_requests w
            where w.grant_id = g.id and w.generation = g.generation and not w.rejected
        )
        and not exists (select from evergrant.revocations r where r.grant_id = g.id);
    if found then
        notify evergrant_work;
    end if;
end
$$;
revoke all on function evergrant.note_read(uuid) from public;

-- The view hands such a token out through here. `stable`, though what it calls writes: a view with anything volatile in it
-- is computed whole, with the token where only other columns are wanted, before it is joined (see below). Noting twice
-- changes nothing. Where nothing can be written, nothing is noted. Anybody may call it: it hands back what it was given.
create function evergrant.hand_out(grant_id uuid, token bytea)
returns bytea
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if not (pg_is_in_recovery() or current_setting('transaction_read_only')::boolean) then
        perform evergrant.note_read(grant_id);
    end if;
    return token;
end
$$;

-- A token stands here only where it may be handed out: the grant is kept (or merely paused) and nobody asked
-- for its revocation. A needs_consent grant's access token lived until its end while it was suspect.
-- Nothing in it is volatile, the clock neither: else it would be computed whole before it is joined (measured: a token over
-- HTTP read every grant there is).
create view evergrant.access_tokens as
select
    g.id as grant_id, g.ref, c.name as client, g.labels, g.generation, g.access_expires_at,
    case
        when exists (select from evergrant.revocations r where r.grant_id = g.id) and g.status <> 'revoked'
        then 'revoking' else g.status
    end as status,
    case
        when coalesce(g.keep, c.keep) = 'on-demand' and g.status = 'active'
            and g.access_expires_at < statement_timestamp() + g.life / 3
        then evergrant.hand_out(g.id, handed.token) else handed.token
    end as sealed_access_token,
    g.reason, g.life
from evergrant.grants g
join evergrant.clients c on c.id = g.client_id
cross join lateral (
    select case
        when g.status in ('active', 'paused') and g.access_expires_at > statement_timestamp()
            and (select evergrant.database_state()) in ('fit', 'standby', 'rewound')
            and not exists (select from evergrant.revocations r where r.grant_id = g.id)
        then g.sealed_access_token
    end as token
) handed;
