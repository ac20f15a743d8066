-- A brake on revocations: what one asker wants beyond the limit is held, in a table of its own. So to everything that asks
-- for an open revocation, the release before included, there is none yet. No row is rewritten, and no index is made on a
-- table that has rows.

alter table evergrant.clients
    add column revocation_limit integer,             -- in ten minutes, of one asker; null: 100, or a tenth of its grants
    add column revocations_accepted_at timestamptz;  -- an operator let held ones go on: from then on it is counted anew

-- Revocations to be. The id is that of the revocation, if it goes on.
create table evergrant.held_revocations (
    id bigint not null default nextval('evergrant.revocations_id_seq'),
    client_id bigint not null,
    grant_id uuid not null,
    reason text,
    idempotency_key text,
    erase boolean not null,
    requested_at timestamptz not null default clock_timestamp(),
    requested_by text not null,
    counted_as text not null,          -- whose limit holds it
    constraint pk_held_revocations primary key (id),
    constraint fk_held_revocations_client_id_clients foreign key (client_id) references evergrant.clients (id),
    constraint fk_held_revocations_grant_id_grants foreign key (grant_id) references evergrant.grants (id),
    constraint uq_held_revocations_grant_id_counted_as_erase unique (grant_id, counted_as, erase),
    constraint uq_held_revocations_client_id_counted_as_idempotency_key
        unique (client_id, counted_as, idempotency_key)
);

-- Who asked for a revocation, and when: what the brake counts. A row for each, for a counter would be a row that an open
-- transaction of an application holds, and the next one waits for. Forgotten after an hour.
create table evergrant.revocation_asks (
    id bigint generated always as identity,
    client_id bigint not null,
    asked_by text not null,
    asked_at timestamptz not null default clock_timestamp(),
    allowed integer,                   -- a tenth of the client's grants, where it was counted or known
    constraint pk_revocation_asks primary key (id)
);
create index ix_revocation_asks_asked_by_asked_at_client_id
    on evergrant.revocation_asks (asked_by, asked_at, client_id);

-- The roles of single applications: whose grants a member may see, and for what.
create table evergrant.application_roles (
    role text not null,
    client_ids bigint[] not null,
    may text[] not null,
    made_at timestamptz not null default clock_timestamp(),
    made_by text not null default session_user,
    constraint pk_application_roles primary key (role)
);

insert into evergrant.chores (name, every) values ('forget_asks', '10 minutes');  -- that the brake counts no more

-- For the owner of the schema, and who is a member of it, a superuser too, roles of applications narrow nothing.
create function evergrant.is_owner()
returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select pg_has_role(session_user, n.nspowner, 'member') from pg_namespace n where n.nspname = 'evergrant'
$$;

-- The clients whose grants the caller may see for a purpose (`read`, `refresh`, `revoke`); null: it is no application
-- with a role of its own, so that its other rights say all. By the login: nothing that it sets to itself changes that.
create function evergrant.own_clients(purpose text)
returns text[]
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with mine as (
        select a.client_ids, a.may from evergrant.application_roles a
        where pg_has_role(session_user, to_regrole(a.role), 'member')
    )
    select case when exists (select from mine) and not evergrant.is_owner() then array(
        select c.name from mine m join evergrant.clients c on c.id = any (m.client_ids)
        where own_clients.purpose = any (m.may)
    ) end
$$;

-- The view for applications with a role of their own: as evergrant.access_tokens, but of their clients alone, and with a
-- barrier: what a query asks of a row by itself is asked of those alone. `=` is told before, so that a ref's index serves.
create view evergrant.own_access_tokens with (security_barrier) as
select t.grant_id, t.ref, t.client, t.labels, t.generation, t.access_expires_at, t.status, t.sealed_access_token,
    t.reason, t.life
from evergrant.access_tokens t
where t.client = any ((select evergrant.own_clients('read'))::text[]);

create function evergrant.refuse_long(argument text, given text, most integer)
returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if length(given) > most then
        raise exception using errcode = '22001',
            message = format('%s has %s characters; %s are the most', argument, length(given), most);
    end if;
end
$$;

create or replace function evergrant.asker()
returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select concat_ws('/', session_user, nullif(left(current_setting('evergrant.application', true), 255), ''))
$$;

-- The one live row of a ref, or its newest ended one; of the clients that the caller may have for this purpose.
create function evergrant.find_grant(ref text, client text, purpose text)
returns evergrant.grants
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    found_row evergrant.grants;
    clients_found bigint;
    own text[] := evergrant.own_clients(purpose);
begin
    select count(distinct g.client_id) into clients_found
    from evergrant.grants g join evergrant.clients c on c.id = g.client_id
    where g.ref = find_grant.ref and (find_grant.client is null or c.name = find_grant.client)
        and (own is null or c.name = any (own));
    if clients_found > 1 then
        raise exception using errcode = 'P0003',
            message = format('ref %L belongs to %s clients', find_grant.ref, clients_found),
            hint = 'Name the client, too.';
    end if;
    select g.* into found_row
    from evergrant.grants g join evergrant.clients c on c.id = g.client_id
    where g.ref = find_grant.ref and (find_grant.client is null or c.name = find_grant.client)
        and (own is null or c.name = any (own))
    order by (g.status in ('revoking', 'revoked')), g.created_at desc
    limit 1;
    return found_row;
end
$$;

create or replace function evergrant.request_refresh(
    ref text, client text default null, if_generation bigint default null
)
returns bigint
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    held evergrant.grants;
    reports boolean := if_generation is not null;
begin
    perform evergrant.refuse_long('ref', ref, 255), evergrant.refuse_long('client', client, 255);
    held := evergrant.find_grant(ref, client, 'refresh');
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

-- Whose limit a request counts for. Only our own web process and the owner are believed whom they ask for: else an
-- application would have a limit for every name that it thinks of.
create function evergrant.counted_asker()
returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when evergrant.is_owner() or pg_has_role(session_user, to_regrole('evergrant_web'), 'member')
        then evergrant.asker() else session_user
    end
$$;

-- Count one request more; returns the limit that it is beyond, null where it goes on. What the asker wants of any client
-- counts: many clients may have few grants each. A limit below a hundred is for what it wants of that client alone. A tenth
-- of the grants matters from a hundred on, and is known for a minute. Counted is no further than the limit; what
-- transactions beside this one ask for, from their commit on.
create function evergrant.brake(client_id bigint, asker text)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    counted_from timestamptz;
    said integer;
    known integer;
    asked bigint;
    asked_of_client bigint := 0;
begin
    select c.revocation_limit, greatest(clock_timestamp() - interval '10 minutes', c.revocations_accepted_at)
    into said, counted_from
    from evergrant.clients c where c.id = brake.client_id;
    select count(*) into asked from (
        select from evergrant.revocation_asks a
        where a.asked_by = asker and a.asked_at > counted_from
        limit greatest(said, 100)
    ) a;
    if said < 100 then
        select count(*) into asked_of_client from (
            select from evergrant.revocation_asks a
            where a.asked_by = asker and a.asked_at > counted_from and a.client_id = brake.client_id
            limit said
        ) a;
    elsif said is null and asked = 100 then
        select a.allowed into known from evergrant.revocation_asks a
        where a.asked_by = asker and a.asked_at > clock_timestamp() - interval '1 minute'
            and a.client_id = brake.client_id and a.allowed is not null
        order by a.asked_at
        limit 1;
        if known is null then
            select greatest(100, count(*) / 10) into known from evergrant.grants g
            where g.client_id = brake.client_id and g.status not in ('revoking', 'revoked');
        end if;
        select count(*) into asked from (
            select from evergrant.revocation_asks a
            where a.asked_by = asker and a.asked_at > counted_from
            limit known
        ) a;
    end if;
    insert into evergrant.revocation_asks (client_id, asked_by, allowed) values (brake.client_id, asker, known);
    return case
        when asked_of_client >= said then said
        when asked >= greatest(said, known, 100) then greatest(said, known, 100)
    end;
end
$$;

-- Hold a revocation, once for each asker. The first in ten minutes is told as an event, each to whoever asks.
create function evergrant.hold_revocation(
    held evergrant.grants, reason text, idempotency_key text, erase boolean, asker text, allowed integer
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    made bigint;
    is_news boolean := not exists (
        select from evergrant.held_revocations h
        where h.client_id = held.client_id and h.counted_as = asker
            and h.requested_at > clock_timestamp() - interval '10 minutes'
    );
begin
    insert into evergrant.held_revocations
        (client_id, grant_id, reason, idempotency_key, erase, requested_by, counted_as)
    values (held.client_id, held.id, reason, idempotency_key, erase, evergrant.asker(), asker)
    on conflict do nothing
    returning id into made;
    if made is null then
        return;
    end if;
    if is_news then
        insert into evergrant.events (type, client_id, data, actor)
        values ('revocations.held', held.client_id, jsonb_build_object('limit', allowed), asker);
    end if;
    raise notice using
        message = format('revocation %s is held: %s asked for more than %s in ten minutes', made, asker, allowed),
        hint = 'It goes on once an operator accepts it: evergrant clients accept-revocations.';
end
$$;

-- What was asked for before, of this grant or with this key: a revocation, or what this asker's limit holds.
create function evergrant.asked_before(grant_id uuid, client_id bigint, idempotency_key text, asker text)
returns table (id bigint, ref text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select found.id, found.ref from (
        select r.id, r.ref, r.grant_id, 1 as place from evergrant.revocations r
        where r.grant_id = asked_before.grant_id
            or (r.client_id = asked_before.client_id and r.idempotency_key = asked_before.idempotency_key)
        union all
        select h.id, g.ref, h.grant_id, 2 from evergrant.held_revocations h
        join evergrant.grants g on g.id = h.grant_id
        where h.counted_as = asker and (
            h.grant_id = asked_before.grant_id
            or (h.client_id = asked_before.client_id and h.idempotency_key = asked_before.idempotency_key)
        )
    ) found
    order by found.grant_id = asked_before.grant_id desc, found.place, found.id
    limit 1
$$;

-- Whether a request to forget a grant is there, open or held for this asker.
create function evergrant.is_to_be_erased(grant_id uuid, asker text)
returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select exists (select from evergrant.erasures e where e.grant_id = is_to_be_erased.grant_id)
        or exists (
            select from evergrant.held_revocations h
            where h.grant_id = is_to_be_erased.grant_id and h.counted_as = asker and h.erase
        )
$$;

-- Ask for a grant to be killed at the provider; returns the revocation's id, which may be held.
create or replace function evergrant.request_revocation(
    ref text, client text default null, reason text default null, idempotency_key text default null,
    missing_ok boolean default false, erase boolean default false
)
returns bigint
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    held evergrant.grants;
    asker text := evergrant.counted_asker();
    made bigint;
    made_for text;
    allowed integer;
begin
    perform evergrant.refuse_long('ref', ref, 255), evergrant.refuse_long('client', client, 255),
        evergrant.refuse_long('reason', reason, 1000),
        evergrant.refuse_long('idempotency_key', idempotency_key, 1000);
    held := evergrant.find_grant(ref, client, 'revoke');
    if held.id is null then
        if missing_ok then
            return null;
        end if;
        raise exception using errcode = 'P0002', message = format('unknown ref %L', ref);
    end if;
    select b.id, b.ref into made, made_for
    from evergrant.asked_before(held.id, held.client_id, idempotency_key, asker) b;
    if made is null or (made_for = held.ref and erase and not evergrant.is_to_be_erased(held.id, asker)) then
        allowed := evergrant.brake(held.client_id, asker);
        if allowed is not null then
            perform evergrant.hold_revocation(
                held, reason, case when made is null then idempotency_key end, erase, asker, allowed
            );
        else
            insert into evergrant.revocations (client_id, grant_id, ref, reason, idempotency_key, requested_by)
            values (held.client_id, held.id, held.ref, reason, idempotency_key, evergrant.asker())
            on conflict do nothing;
            if erase then
                insert into evergrant.erasures (grant_id)
                select g.id from evergrant.grants g where g.client_id = held.client_id and g.ref = held.ref
                on conflict do nothing;
            end if;
        end if;
        select b.id, b.ref into made, made_for
        from evergrant.asked_before(held.id, held.client_id, idempotency_key, asker) b;
    end if;
    if made_for <> held.ref then
        raise exception using errcode = '22023',
            message = format('idempotency key %L belongs to the revocation of ref %L', idempotency_key, made_for);
    end if;
    notify evergrant_work;
    return made;
end
$$;

drop function evergrant.find_grant(text, text);

-- The one change of an event that there is: of a grant that is dead and to be forgotten, what names a customer. So no role
-- but the owner needs the right to change or delete one.
create function evergrant.forget_events(grant_ids uuid[])
returns void
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
    update evergrant.events v
    set ref = 'erased-' || v.grant_id, labels = '{}', reason = null, data = '{}'
    from evergrant.erasures e join evergrant.grants g on g.id = e.grant_id
    where v.grant_id = any (grant_ids) and e.grant_id = v.grant_id and e.erased_at is null and g.status = 'revoked'
$$;

revoke all on function evergrant.find_grant(text, text, text), evergrant.counted_asker(),
    evergrant.brake(bigint, text),
    evergrant.hold_revocation(evergrant.grants, text, text, boolean, text, integer),
    evergrant.asked_before(uuid, bigint, text, text), evergrant.is_to_be_erased(uuid, text),
    evergrant.forget_events(uuid[])
from public;

-- Where `db roles` was applied, everybody goes on without its being applied again.
do $$ begin
    if to_regrole('evergrant_worker') is not null then
        grant select, insert, update, delete on evergrant.held_revocations to evergrant_worker;
        grant select, delete on evergrant.revocation_asks to evergrant_worker;
        grant execute on function evergrant.forget_events(uuid[]) to evergrant_worker;
    end if;
    if to_regrole('evergrant_admin') is not null then
        grant select, insert, update, delete
            on evergrant.held_revocations, evergrant.revocation_asks, evergrant.application_roles to evergrant_admin;
        grant execute on function evergrant.forget_events(uuid[]) to evergrant_admin;
    end if;
    if to_regrole('evergrant_web') is not null then
        grant select on evergrant.held_revocations to evergrant_web;
        grant select (revocation_limit, revocations_accepted_at) on evergrant.clients to evergrant_web;
    end if;
end $$;
