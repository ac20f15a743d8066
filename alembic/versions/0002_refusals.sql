-- Refusals that nobody understands, and who was not refused meanwhile: whose fault they are. No row is rewritten, and the
-- release before, which may run beside, knows nothing of these columns: what it leaves as it was is told by `refreshed_at`.

alter table evergrant.grants
    add column refusals integer not null default 0,  -- in one word that nobody understands, since the last success
    add column refused_since timestamptz,            -- the first of them
    add column refused_code text;                    -- the word

-- Not in valves: the release before reads all columns of a valve by prepared statements, which bear no column more.
create table evergrant.witnesses (
    client_id bigint not null,
    refused_since timestamptz,         -- set: nobody has succeeded since a refusal that nobody understands
    refused_code text,
    refused_grant_ids uuid[] not null default '{}',  -- who was refused alike since, each once
    witness_at timestamptz,            -- start of the last refresh that succeeded
    witness_grant_ids uuid[] not null default '{}',  -- the last that were refreshed, the newest first
    constraint pk_witnesses primary key (client_id),
    constraint fk_witnesses_client_id foreign key (client_id) references evergrant.clients (id)
) with (fillfactor = 50);

-- Where `db roles` was applied, workers go on without its being applied again.
do $$ begin
    if to_regrole('evergrant_worker') is not null then
        grant select, insert, update, delete on evergrant.witnesses to evergrant_worker;
    end if;
    if to_regrole('evergrant_admin') is not null then
        grant select, insert, update, delete on evergrant.witnesses to evergrant_admin;
    end if;
    if to_regrole('evergrant_web') is not null then
        grant select on evergrant.witnesses to evergrant_web;
    end if;
end $$;
