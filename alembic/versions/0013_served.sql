-- Links are made while somebody serves them, and whoever is on call is told of visits. No row is rewritten; the index is
-- made on a table that is as new as the tickets (0012), and forgets what ended a week ago.

alter table evergrant.installation
    add column public_url_seen_at timestamptz;  -- when a web said last that it serves the public listener

create index ix_visits_ended_at on evergrant.visits (ended_at) where ended_at is not null;

-- The link of a ticket; null where nobody serves a public listener: a web says every thirty seconds that it does.
create or replace function evergrant.connect_url(ticket text)
returns text
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select rtrim(i.public_url, '/') || '/connect/' || ticket from evergrant.installation i
    where i.public_url_seen_at > clock_timestamp() - interval '2 minutes'
$$;

-- Where `db roles` was applied, everybody goes on without its being applied again.
do $$ begin
    if to_regrole('evergrant_web') is not null then
        grant update (public_url_seen_at) on evergrant.installation to evergrant_web;
    end if;
end $$;
