-- What each process says of itself, so that whoever asks why a grant stands still is told. No row is rewritten; the
-- release before, which may run beside, writes none of these columns: null is "it does not say".

alter table evergrant.processes
    add column environment text,           -- EVERGRANT_ENVIRONMENT
    add column refresh_key_ids text[],     -- of the refresh ring that it holds, the active one first; empty: it holds none
    add column access_key_ids text[],
    add column consumed_at timestamptz,    -- a worker: when it last took a message up
    add column fault text,                 -- why it can do nothing now: a worker's journal, a beat's broker; null: it can
    add column disk_free bigint,           -- a worker: bytes left where its journal lies
    add column clock_at timestamptz,       -- by its own clock, when it was seen last
    add column ignored_variables text[];   -- names with our prefix in its environment that are no setting

-- The ids alone, for whoever may not read what is sealed. Sealed bytes name their key: one byte of version, one of
-- length, then the id.
create function evergrant.key_id_of(sealed bytea)
returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when length(sealed) > 1 and length(sealed) > 2 + get_byte(sealed, 1)
        then encode(substring(sealed from 3 for get_byte(sealed, 1)), 'escape')
    end
$$;
create function evergrant.key_ids_of_grant(grant_id uuid)
returns table (refresh_key_id text, access_key_id text, secret_key_id text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select evergrant.key_id_of(g.sealed_refresh_token), evergrant.key_id_of(g.sealed_access_token),
        evergrant.key_id_of(c.sealed_client_secret)
    from evergrant.grants g join evergrant.clients c on c.id = g.client_id
    where g.id = key_ids_of_grant.grant_id
$$;
revoke execute on function evergrant.key_id_of(bytea), evergrant.key_ids_of_grant(uuid) from public;

-- Where `db roles` was applied, everybody goes on without its being applied again.
do $$ begin
    if to_regrole('evergrant_web') is not null then
        grant execute on function evergrant.key_ids_of_grant(uuid) to evergrant_web;
    end if;
    if to_regrole('evergrant_admin') is not null then
        grant execute on function evergrant.key_ids_of_grant(uuid) to evergrant_admin;
    end if;
end $$;
