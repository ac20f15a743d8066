-- Refusals that nobody understands, and who was not refused meanwhile: whose fault they are. No row is rewritten, and the
-- release before, which may run beside, knows nothing of these columns: what it leaves as it was is told by `refreshed_at`.

alter table evergrant.grants
    add column refusals integer not null default 0,  -- in one word that nobody understands, since the last success
    add column refused_since timestamptz,            -- the first of them
    add column refused_code text;                    -- the word

alter table evergrant.valves
    add column refused_since timestamptz,            -- set: nobody has succeeded since a refusal that nobody understands
    add column refused_code text,
    add column refused_grant_ids uuid[] not null default '{}',  -- who was refused alike since, each once
    add column witness_at timestamptz,               -- start of the last refresh that succeeded
    add column witness_grant_ids uuid[] not null default '{}';  -- the last that were refreshed, the newest first
