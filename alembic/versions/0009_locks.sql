-- What was asked for by message while somebody else's transaction holds it. No row is rewritten, no table locked but the
-- new one, and the release before, which may run beside, knows nothing of it.

create table evergrant.waiting_requests (
    id bigint generated always as identity,
    function text not null,                      -- of the SQL surface
    arguments jsonb not null,                    -- as the message named them
    asked_at timestamptz not null default clock_timestamp(),
    tries integer not null default 0,            -- that met a lock
    try_at timestamptz not null default clock_timestamp(),
    constraint pk_waiting_requests primary key (id),
    constraint ck_waiting_requests_function check (function in ('request_refresh', 'request_revocation'))
);
create index ix_waiting_requests_try_at on evergrant.waiting_requests (try_at);

-- Where `db roles` was applied, everybody goes on without its being applied again.
do $$ begin
    if to_regrole('evergrant_worker') is not null then
        grant select, insert, update, delete on evergrant.waiting_requests to evergrant_worker;
    end if;
    if to_regrole('evergrant_admin') is not null then
        grant select, insert, update, delete on evergrant.waiting_requests to evergrant_admin;
    end if;
end $$;
