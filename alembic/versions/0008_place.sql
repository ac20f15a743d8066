-- Where the data of an embedded database lie. The server cannot tell a copied folder from its original; who starts it can.

alter table evergrant.installation
    add column place text,        -- machine, file system and inode for which it was adopted; null: a database of one's own
    add column place_found text;  -- where it lay when it was started last

create or replace function evergrant.database_state(environment text default null)
returns text
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select case
        when i.id is null then 'not_adopted'
        when i.system_identifier <> (select system_identifier::text from pg_control_system())
            or i.database_name <> current_database()
            or i.environment <> coalesce(database_state.environment, i.environment)
            or i.place <> i.place_found
        then 'copied'
        when pg_is_in_recovery() then 'standby'
        when i.incident_at is not null or i.timeline <> substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)
        then 'rewound'
        else 'fit'
    end
    from (values (1)) one left join evergrant.installation i on true
$$;
