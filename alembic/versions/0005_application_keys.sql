-- A word that may not be told has a shape. Keys of applications say what they may, for which clients, and until when. Those that are there go on as they were: they
-- may all that a key could, and have no end.
--
-- The release before may run beside. It knows one key of an application, `applications.key_hash`, and one client or all.
-- What it could not keep, a key that may less, ends or is for several clients, it cannot open at all: then the hash there
-- is one that no key has.

alter table evergrant.grants
    add column last_error_shape text;            -- of a word of the provider's that may not be told, as it may

alter table evergrant.applications
    add column may text[];                       -- null: read, refresh, revoke, erase

create table evergrant.application_clients (
    application_id bigint not null,
    client_id bigint not null,
    constraint pk_application_clients primary key (application_id, client_id),
    constraint fk_application_clients_application_id_applications
        foreign key (application_id) references evergrant.applications (id) on delete cascade,
    constraint fk_application_clients_client_id_clients foreign key (client_id) references evergrant.clients (id)
);

-- Two of an application while one takes over from the other.
create table evergrant.application_keys (
    id bigint generated always as identity,
    application_id bigint not null,
    key_hash bytea not null,
    created_at timestamptz not null default clock_timestamp(),
    created_by text not null default session_user,
    expires_at timestamptz,                      -- from then on it opens nothing; null: never
    used_at timestamptz,                         -- last, to the minute; null: not yet, or not since the upgrade
    constraint pk_application_keys primary key (id),
    constraint uq_application_keys_key_hash unique (key_hash),
    constraint fk_application_keys_application_id_applications
        foreign key (application_id) references evergrant.applications (id) on delete cascade
);
create index ix_application_keys_application_id on evergrant.application_keys (application_id);

-- An application that the release before adds from now on has no row here: then the key beside its name is meant.
insert into evergrant.application_keys (application_id, key_hash, created_at, created_by)
select id, key_hash, created_at, created_by from evergrant.applications;

-- Where `db roles` was applied, everybody goes on without its being applied again.
do $$ begin
    if to_regrole('evergrant_admin') is not null then
        grant select, insert, update, delete on evergrant.application_clients, evergrant.application_keys
            to evergrant_admin;
    end if;
    if to_regrole('evergrant_web') is not null then
        grant select (last_error_shape) on evergrant.grants to evergrant_web;
        grant select on evergrant.application_clients to evergrant_web;
        grant select, update (used_at) on evergrant.application_keys to evergrant_web;
    end if;
end $$;
