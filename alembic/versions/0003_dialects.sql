-- What a provider file can say since: horizons, whose rule spoke, two secrets at once, a pace of its own. No row is
-- rewritten, no index is made, and the release before, which may run beside, knows nothing of these columns.

alter table evergrant.grants
    add column refresh_expires_at timestamptz,   -- the end of the refresh token held, told or reckoned
    add column consent_expires_at timestamptz,   -- from then on only the user can renew it, however often it is refreshed
    add column last_error_rule text,             -- which rule of the provider file read the last error
    add column spent_refused_at timestamptz;     -- when the token was refused, before its time, that this set came of

alter table evergrant.clients
    add column sealed_former_secret bytea,       -- what the present secret has replaced, while both may be good
    add column former_secret_at timestamptz,     -- when it was replaced
    add column secret_refused_at timestamptz,    -- set: the newer one was refused, and is kept as the former one is
    add column secret_refused_code text,         -- how
    add column grant_interval interval,          -- the least time between two renewals of one grant; null: none
    add column drift jsonb,                      -- what contradicted its profile; an operator who sets it anew clears it
    add column drift_watch jsonb,                -- what would, if more grants showed it
    add column after_grace text;                 -- what a reuse does after the grace; null: as at `family`
alter table evergrant.clients
    drop constraint ck_clients_rotation,
    add constraint ck_clients_rotation
        check (rotation in ('none', 'on_use', 'until_next_refresh', 'grace', 'immediate', 'family'));

alter table evergrant.witnesses
    add column slowed_by integer not null default 0,  -- how often its pace was halved
    add column slowed_at timestamptz,                 -- when it was halved or doubled last
    add column slowed_from double precision,          -- requests a minute, before it was halved
    add column slowed_code text,                      -- the word for which it was
    add column minute_at timestamptz,                 -- start of the minute that the next three tell of
    add column minute_asked integer not null default 0,
    add column minute_refused integer not null default 0,  -- alike, on grants whose request before had succeeded
    add column minute_code text,
    add column passing_code text,                     -- a grant that was refused so was refreshed afterwards
    add column passing_at timestamptz,
    add column mixed_since timestamptz,               -- as refused_since, whatever the words
    add column mixed_grant_ids uuid[] not null default '{}',
    add column remaining integer,                     -- requests left, as the provider said last
    add column remaining_at timestamptz,
    add column scarce_until timestamptz;              -- so few were left that it goes at half its pace until then

alter table evergrant.dead_letters
    add column rule text,                        -- which rule of the provider file spoke
    add column looks integer not null default 0, -- how often its grant was asked once more since the verdict
    add column look_at timestamptz;              -- when it is asked next; null: never

-- What providers tell by themselves, as it came: sealed, for it holds its proof. A worker reads it within seconds.
create table evergrant.notices (
    id uuid not null,
    client_id bigint not null,
    sealed_notice bytea not null,
    received_at timestamptz not null default clock_timestamp(),
    constraint pk_notices primary key (id),
    constraint fk_notices_client_id_clients foreign key (client_id) references evergrant.clients (id)
);
create index ix_notices_client_id_received_at on evergrant.notices (client_id, received_at);

insert into evergrant.chores (name, every) values
    ('tell_expiring', '10 minutes'),      -- grants that end soon, and that renewing will not mend
    ('read_notices', '10 seconds'),       -- what providers told by themselves
    ('look_again', '1 minute');           -- at those that were declared dead

-- Where `db roles` was applied, everybody goes on without its being applied again.
do $$ begin
    if to_regrole('evergrant_worker') is not null then
        grant update (sealed_client_secret, sealed_former_secret, former_secret_at, secret_refused_at,
            secret_refused_code, credentials_no, drift, drift_watch, overrides, rotation, burst, attempt_lease, grace,
            after_grace, updated_at) on evergrant.clients to evergrant_worker;
        grant select, insert, update, delete on evergrant.notices to evergrant_worker;
    end if;
    if to_regrole('evergrant_admin') is not null then
        grant select, insert, update, delete on evergrant.notices to evergrant_admin;
    end if;
    if to_regrole('evergrant_web') is not null then
        grant select (former_secret_at, secret_refused_at, secret_refused_code, grant_interval, drift, drift_watch,
            after_grace) on evergrant.clients to evergrant_web;
        grant select (refusals, refused_since, refused_code, refresh_expires_at, consent_expires_at, last_error_rule,
            spent_refused_at) on evergrant.grants to evergrant_web;
        grant insert, select (id, client_id, received_at) on evergrant.notices to evergrant_web;
    end if;
end $$;
