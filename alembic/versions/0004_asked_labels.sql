-- Of which grants the provider's API is asked for labels, and what came of it. A row only where a provider file names an
-- address for that, so no grant is touched, and the release before, which may run beside, knows nothing of it.

create table evergrant.asked_labels (
    grant_id uuid not null,
    client_id bigint not null,
    due_at timestamptz default clock_timestamp(),  -- null: it was asked, and is not asked again by itself
    requested_at timestamptz not null default clock_timestamp(),
    tries integer not null default 0,  -- since then
    answered_at timestamptz,
    told jsonb not null default '{}',  -- what came of it last: a code, the labels kept, and what to do
    given jsonb not null default '{}', -- what the API gave: a label that has other values was set by somebody else
    constraint pk_asked_labels primary key (grant_id),
    constraint fk_asked_labels_grant_id_grants foreign key (grant_id) references evergrant.grants (id),
    constraint fk_asked_labels_client_id_clients foreign key (client_id) references evergrant.clients (id)
);
create index ix_asked_labels_due on evergrant.asked_labels (client_id, due_at) where due_at is not null;

insert into evergrant.chores (name, every) values ('ask_labels', '10 seconds');

-- Where `db roles` was applied, everybody goes on without its being applied again.
do $$ begin
    if to_regrole('evergrant_worker') is not null then
        grant select, insert, update, delete on evergrant.asked_labels to evergrant_worker;
    end if;
    if to_regrole('evergrant_admin') is not null then
        grant select, insert, update, delete on evergrant.asked_labels to evergrant_admin;
    end if;
end $$;
