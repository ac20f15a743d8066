-- Webhooks: URLs that are told of events, and what each of them has yet to get. No row is rewritten and no index made on
-- a table that is there. The release before, which may run beside, writes events as ever, and they are told: the trigger
-- is the owner's, and needs no right of whoever writes.

create table evergrant.webhooks (
    id bigint generated always as identity,
    url text not null,
    types text[],                                -- null: what `told_of_itself` names
    client_ids bigint[],                         -- null: events of every client, and of none
    allow_private boolean not null default false,
    environment text not null,                   -- the one it was made in: a copy of the database tells it nothing
    sealed_secret bytea,
    sealed_former_secret bytea,                  -- signs as well, until
    former_secret_until timestamptz,
    paused_at timestamptz,                       -- nothing is sent
    paused_reason text,
    failures integer not null default 0,         -- in a row, each of something not tried before or without an answer
    failing_since timestamptz,
    retry_at timestamptz,                        -- until then nothing is sent; after it one delivery, to see
    last_success_at timestamptz,
    last_code text,
    last_http_status integer,
    -- Where what waits for it is long, events are no longer queued but read later, from the table of events.
    stopped_at timestamptz,
    catch_up_id bigint,                          -- events above this id, and not older than
    catch_up_from timestamptz,                   -- may not have been queued for it
    resumed_at timestamptz,                      -- since when all are queued
    created_at timestamptz not null default clock_timestamp(),
    created_by text not null,
    constraint pk_webhooks primary key (id),
    constraint ck_webhooks_paused_reason check (paused_reason in ('operator', 'gone', 'unreachable'))
);
create unique index uq_webhooks_url on evergrant.webhooks (url);

-- A row is one event on its way to one webhook. It refers to both without a constraint: whoever writes an event must
-- never wait for, nor fail by, somebody who removes a webhook.
create table evergrant.webhook_deliveries (
    id bigint generated always as identity,
    webhook_id bigint not null,
    event_id bigint not null,
    subject text not null,                       -- of one subject one after the other: a grant's id, `client:` and an id
    queued_at timestamptz not null default clock_timestamp(),
    try_at timestamptz not null default clock_timestamp(),
    leased_until timestamptz,                    -- a process is at it
    tries integer not null default 0,
    first_tried_at timestamptz,
    last_code text,
    last_http_status integer,
    ended_at timestamptz,
    outcome text,
    constraint pk_webhook_deliveries primary key (id),
    constraint ck_webhook_deliveries_outcome check (outcome in ('delivered', 'dead'))
);
create unique index uq_webhook_deliveries_webhook_id_event_id on evergrant.webhook_deliveries (webhook_id, event_id);
create index ix_webhook_deliveries_waiting on evergrant.webhook_deliveries (webhook_id, try_at, event_id)
    where ended_at is null;
create index ix_webhook_deliveries_in_order on evergrant.webhook_deliveries (webhook_id, subject, event_id)
    where ended_at is null;
create index ix_webhook_deliveries_ended_at on evergrant.webhook_deliveries (ended_at) where ended_at is not null;

-- What a webhook is told that names no types. These three are without a search path of their own, so that PostgreSQL
-- takes them apart into the statement that asks: ten times as quick.
create function evergrant.told_of_itself(type text)
returns boolean
language sql immutable parallel safe
as $$
    select type in (
        'grant.connected', 'grant.reconnected', 'grant.late', 'grant.waiting', 'grant.expiring', 'grant.needs_consent',
        'grant.recovered', 'grant.scope_changed', 'grant.revoked',
        'revocation.dead', 'revocations.held',
        'client.paused', 'client.resumed', 'client.deaths_held', 'client.rotation_drift', 'client.secret_refused'
    )
$$;

-- Whether a webhook is to be told of an event. A test is told to the one that it tries.
create function evergrant.is_told(webhook evergrant.webhooks, type text, client_id bigint, data jsonb)
returns boolean
language sql stable
as $$
    select case
        when type = 'webhook.test' then data -> 'webhook' = to_jsonb(webhook.id)
        else (webhook.client_ids is null or client_id = any (webhook.client_ids))
            and case when webhook.types is null then evergrant.told_of_itself(type) else type = any (webhook.types) end
    end
$$;

create function evergrant.subject_of(event_id bigint, type text, client_id bigint, grant_id uuid)
returns text
language sql immutable parallel safe
as $$
    select case
        when grant_id is not null then grant_id::text
        when type <> 'webhook.test' and client_id is not null then 'client:' || client_id
        else 'event:' || event_id
    end
$$;

create function evergrant.queue_deliveries()
returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into evergrant.webhook_deliveries (webhook_id, event_id, subject)
    select w.id, e.id, evergrant.subject_of(e.id, e.type, e.client_id, e.grant_id)
    from evergrant.webhooks w
    join written e on evergrant.is_told(w, e.type, e.client_id, e.data)
    where w.stopped_at is null
    order by e.id
    on conflict do nothing;
    return null;
end
$$;

-- Of each statement that writes events, once: an import that writes a million of them pays for one look.
create trigger queue_deliveries after insert on evergrant.events
    referencing new table as written
    for each statement execute function evergrant.queue_deliveries();

revoke all on function evergrant.told_of_itself(text),
    evergrant.is_told(evergrant.webhooks, text, bigint, jsonb),
    evergrant.subject_of(bigint, text, bigint, uuid), evergrant.queue_deliveries()
from public;

insert into evergrant.chores (name, every) values
    ('tend_webhooks', interval '30 seconds'),
    ('tell_secrets_refused', interval '15 seconds');  -- where too few grants are refused to shut a valve

-- Where `db roles` was applied, everybody goes on without its being applied again.
do $$ begin
    if to_regrole('evergrant_worker') is not null then
        grant select, update on evergrant.webhooks to evergrant_worker;
        grant select, insert, update, delete on evergrant.webhook_deliveries to evergrant_worker;
        grant execute on function evergrant.told_of_itself(text),
            evergrant.is_told(evergrant.webhooks, text, bigint, jsonb),
            evergrant.subject_of(bigint, text, bigint, uuid) to evergrant_worker;
    end if;
    if to_regrole('evergrant_admin') is not null then
        grant select, insert, update, delete on evergrant.webhooks, evergrant.webhook_deliveries to evergrant_admin;
        grant execute on function evergrant.told_of_itself(text),
            evergrant.is_told(evergrant.webhooks, text, bigint, jsonb),
            evergrant.subject_of(bigint, text, bigint, uuid) to evergrant_admin;
    end if;
    if to_regrole('evergrant_web') is not null then
        grant select (
            id, url, types, client_ids, allow_private, environment, former_secret_until, paused_at, paused_reason,
            failures, failing_since, retry_at, last_success_at, last_code, last_http_status, stopped_at, catch_up_id,
            catch_up_from, resumed_at, created_at, created_by
        ) on evergrant.webhooks to evergrant_web;
        grant select on evergrant.webhook_deliveries to evergrant_web;
    end if;
end $$;
