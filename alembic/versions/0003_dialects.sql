-- What a provider file can say since: horizons, whose rule spoke, two secrets at once, a pace of its own. No row is
-- rewritten, no index is made, and the release before, which may run beside, knows nothing of these columns.

alter table evergrant.grants
    add column refresh_expires_at timestamptz,   -- the end of the refresh token held, told or reckoned
    add column consent_expires_at timestamptz,   -- from then on only the user can renew it, however often it is refreshed
    add column expiring_told_at timestamptz,     -- when it was told that one of these comes near
    add column last_error_rule text;             -- which rule of the provider file read the last error

alter table evergrant.clients
    add column sealed_former_secret bytea,       -- what the present secret has replaced, while both may be good
    add column former_secret_at timestamptz,     -- when it was replaced
    add column drift jsonb;                      -- what contradicted its profile; an operator who sets it anew clears it
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
    add column remaining_at timestamptz;

alter table evergrant.dead_letters
    add column rule text,                        -- which rule of the provider file spoke
    add column looks integer not null default 0, -- how often its grant was asked once more since the verdict
    add column look_at timestamptz;              -- when it is asked next; null: never

insert into evergrant.chores (name, every) values ('look_again', interval '1 minute');
