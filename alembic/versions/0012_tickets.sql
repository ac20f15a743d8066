-- Tickets: a customer is led through the code flow by the public listener of `evergrant web`. No row is rewritten and no
-- index made on a table that is there; what is new has tables of its own, so the release before may run beside.

alter table evergrant.clients
    add column title text,               -- who a page speaks for; null: the client's name
    add column logo_url text,
    add column colour text,
    add column return_to_urls text[];    -- null: `return_to` alone

alter table evergrant.installation
    add column public_url text;          -- where the public listener is found, as the last one to start was told

-- Only a hash of the ticket itself is here: whoever reads this table opens no link.
create table evergrant.tickets (
    id uuid not null default gen_random_uuid(),
    ticket_hash bytea not null,
    client_id bigint not null,
    ref text not null,
    labels jsonb not null,
    scopes text[] not null,              -- none: those of the client
    return_to text,
    locale text,
    other_account_allowed boolean not null,
    created_at timestamptz not null default clock_timestamp(),
    created_by text not null,
    counted_as text not null,            -- whose limit it counts for
    expires_at timestamptz not null,
    browser_hash bytea,                  -- of the cookie of the browser that has used it
    used_at timestamptz,
    revoked_at timestamptz,
    revoked_by text,
    constraint pk_tickets primary key (id),
    constraint uq_tickets_ticket_hash unique (ticket_hash),
    constraint fk_tickets_client_id_clients foreign key (client_id) references evergrant.clients (id)
);
create index ix_tickets_client_id_ref_created_at on evergrant.tickets (client_id, ref, created_at);
create index ix_tickets_counted_as_created_at on evergrant.tickets (counted_as, created_at);
create index ix_tickets_expires_at on evergrant.tickets (expires_at);

-- A customer's way through the provider and back. The id is that of the connect request, and of the grant to be.
create table evergrant.visits (
    id uuid not null,
    ticket_id uuid not null,
    began_at timestamptz not null default clock_timestamp(),
    sealed_answer bytea,                 -- what the browser brought back, for a worker; gone with the visit's end
    answered_at timestamptz,
    offered_at timestamptz,              -- to workers, last
    journal_id bigint,                   -- of the process that has sent the code
    held_by text,                        -- why nothing could be sent yet
    ended_at timestamptz,
    outcome text,
    reason text,                         -- in a word of ours
    code text,                           -- in a word of the provider's
    constraint pk_visits primary key (id),
    constraint fk_visits_ticket_id_tickets foreign key (ticket_id) references evergrant.tickets (id) on delete cascade,
    constraint ck_visits_outcome check (outcome in ('connected', 'denied', 'failed'))
);
create index ix_visits_ticket_id on evergrant.visits (ticket_id);
create index ix_visits_waiting on evergrant.visits (answered_at) where sealed_answer is not null;

-- Whose account at the provider a grant is, where that is told: another one is not taken for it when its user comes back.
create table evergrant.grant_accounts (
    id uuid not null,                    -- the grant's
    sealed_account bytea not null,
    constraint pk_grant_accounts primary key (id)
);

insert into evergrant.chores (name, every) values ('tend_tickets', interval '30 seconds');

-- Whether a user may be sent there: it is one of these URLs, or lies below one of them. What a browser reads otherwise
-- than it is written is refused: steps up, backslashes, white space, a fragment.
create function evergrant.is_return_to(url text, allowed text[])
returns boolean
language sql immutable parallel safe
as $$
    select url !~ '[[:cntrl:][:space:]\\#<>"]' and url !~* '(/|%2f)(\.|%2e)(\.|%2e)?(/|%2f|\?|$)' and exists (
        select from unnest(allowed) as a (prefix)
        where url = a.prefix or starts_with(url, rtrim(a.prefix, '/') || '/') or starts_with(url, a.prefix || '?')
    )
$$;

-- Labels as they are kept, every value in a list; raises where they are none.
create function evergrant.read_labels(given jsonb)
returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    read jsonb := '{}';
    label text;
    held jsonb;
    each jsonb;
begin
    if given is null then
        return read;
    end if;
    if jsonb_typeof(given) <> 'object' or length(given::text) > 16384 then
        raise exception using errcode = '22023',
            message = 'labels are no JSON object of at most 16384 characters',
            hint = 'Write them as {"org": "8f2"} or {"org": ["8f2", "9a1"]}.';
    end if;
    for label, held in select * from jsonb_each(given) loop
        if jsonb_typeof(held) <> 'array' then
            held := jsonb_build_array(held);
        end if;
        if label = '' or length(label) > 255 or label ~ '[[:cntrl:]]' or jsonb_array_length(held) = 0 then
            raise exception using errcode = '22023', message = format('label %L cannot be used', left(label, 50));
        end if;
        for each in select * from jsonb_array_elements(held) loop
            if jsonb_typeof(each) <> 'string' or length(each #>> '{}') not between 1 and 1000
                    or each #>> '{}' ~ '[[:cntrl:]]' then
                raise exception using errcode = '22023',
                    message = format('a value of the label %L is no text of 1 to 1000 characters', left(label, 50));
            end if;
        end loop;
        read := read || jsonb_build_object(label, held);
    end loop;
    return read;
end
$$;

-- The client that a ref is to be connected at: the one that was named, the one that has the ref, or the only one; of
-- those that the caller may connect at.
create function evergrant.client_to_connect(ref text, client text)
returns bigint
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    own text[] := evergrant.own_clients('connect');
    fitting bigint[];
begin
    if client is not null then
        select array_agg(c.id) into fitting from evergrant.clients c
        where c.name = client_to_connect.client and (own is null or c.name = any (own));
        if fitting is null then
            raise exception using errcode = 'P0002', message = format('unknown client %L', client);
        end if;
        return fitting[1];
    end if;
    select array_agg(distinct g.client_id) into fitting
    from evergrant.grants g join evergrant.clients c on c.id = g.client_id
    where g.ref = client_to_connect.ref and (own is null or c.name = any (own));
    if fitting is null then
        select array_agg(c.id) into fitting from (
            select c.id from evergrant.clients c where own is null or c.name = any (own) limit 2
        ) c;
    end if;
    if fitting is null then
        raise exception using errcode = 'P0002', message = format('unknown ref %L', ref),
            hint = 'There is no client at which it could be connected.';
    elsif cardinality(fitting) > 1 then
        raise exception using errcode = 'P0003', message = format('ref %L could be of several clients', ref),
            hint = 'Name the client, too.';
    end if;
    return fitting[1];
end
$$;

-- Make a ticket, good once and for 15 minutes; returns it, and it is nowhere else. Raises beyond 20 living tickets of a
-- ref, and 600 in a minute of one asker. For the operator's commands, and what follows.
create function evergrant.make_ticket(
    client_id bigint, ref text, return_to text, labels jsonb, scopes text[], locale text, other_account_allowed boolean,
    who text default null
)
returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    -- 244 random bits, in the alphabet of URLs.
    ticket text := rtrim(translate(
        encode(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()), 'base64'), '+/', '-_'), '=');
    asker text := evergrant.counted_asker();
    allowed text[];
begin
    perform evergrant.refuse_long('ref', ref, 255), evergrant.refuse_long('return_to', return_to, 2000),
        evergrant.refuse_long('locale', locale, 35);
    if ref is null or ref = '' or ref ~ '[[:cntrl:]]' then
        raise exception using errcode = '22023', message = 'a ref is printable text of 1 to 255 characters';
    end if;
    if locale !~ '^[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*$' then
        raise exception using errcode = '22023', message = format('locale %L is no tag of a language', locale),
            hint = 'Write one such as en or de-AT.';
    end if;
    if cardinality(scopes) > 100 or exists (
        select from unnest(scopes) s (scope) where scope is null or scope !~ '^[\x21\x23-\x5b\x5d-\x7e]{1,255}$'
    ) then
        raise exception using errcode = '22023', message = 'a scope is no word of a scope (RFC 6749 section 3.3)';
    end if;
    select coalesce(c.return_to_urls, array[c.return_to]) into allowed
    from evergrant.clients c where c.id = make_ticket.client_id;
    if return_to is not null and evergrant.is_return_to(return_to, allowed) is not true then
        raise exception using errcode = '22023',
            message = format('users may not be sent to %L', left(return_to, 200)),
            hint = 'Allow it: evergrant clients set NAME --return-to URL.';
    end if;
    if (select count(*) from (
        select from evergrant.tickets t
        where t.client_id = make_ticket.client_id and t.ref = make_ticket.ref
            and t.created_at > clock_timestamp() - interval '15 minutes' and t.used_at is null and t.revoked_at is null
        limit 20
    ) t) = 20 then
        raise exception using errcode = '54000', message = format('20 tickets for %L wait to be used', ref),
            hint = 'Use one of them, or wait until one has ended.';
    end if;
    if (select count(*) from (
        select from evergrant.tickets t
        where t.counted_as = asker and t.created_at > clock_timestamp() - interval '1 minute'
        limit 600
    ) t) = 600 then
        raise exception using errcode = '54000', message = '600 tickets were asked for within a minute',
            hint = 'Make one when a customer asks for it.';
    end if;
    insert into evergrant.tickets (ticket_hash, client_id, ref, labels, scopes, return_to, locale, other_account_allowed,
        created_by, counted_as, expires_at)
    values (sha256(convert_to(ticket, 'UTF8')), client_id, ref, evergrant.read_labels(labels), coalesce(scopes, '{}'),
        return_to, replace(locale, '_', '-'), other_account_allowed, coalesce(who, evergrant.asker()), asker,
        clock_timestamp() + interval '15 minutes');
    return ticket;
end
$$;

-- For applications: a ticket for the public listener. The link is its URL, /connect/ and the ticket.
create function evergrant.request_connect(
    ref text, client text default null, return_to text default null, labels jsonb default null,
    scopes text[] default null, locale text default null
)
returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform evergrant.refuse_long('ref', ref, 255), evergrant.refuse_long('client', client, 255);
    return evergrant.make_ticket(
        evergrant.client_to_connect(ref, client), ref, return_to, labels, scopes, locale, false);
end
$$;

-- The link of a ticket; null where no public listener was ever started here.
create function evergrant.connect_url(ticket text)
returns text
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select rtrim(i.public_url, '/') || '/connect/' || ticket from evergrant.installation i
$$;

revoke all on function evergrant.is_return_to(text, text[]), evergrant.read_labels(jsonb),
    evergrant.client_to_connect(text, text),
    evergrant.make_ticket(bigint, text, text, jsonb, text[], text, boolean, text),
    evergrant.request_connect(text, text, text, jsonb, text[], text), evergrant.connect_url(text)
from public;

-- Where `db roles` was applied, everybody goes on without its being applied again.
do $$ begin
    if to_regrole('evergrant_worker') is not null then
        grant select, insert, update, delete on evergrant.tickets, evergrant.visits, evergrant.grant_accounts
            to evergrant_worker;
        grant execute on function evergrant.request_connect(text, text, text, jsonb, text[], text),
            evergrant.connect_url(text) to evergrant_worker;
    end if;
    if to_regrole('evergrant_admin') is not null then
        grant select, insert, update, delete on evergrant.tickets, evergrant.visits, evergrant.grant_accounts
            to evergrant_admin;
        grant execute on function evergrant.request_connect(text, text, text, jsonb, text[], text),
            evergrant.connect_url(text), evergrant.is_return_to(text, text[]),
            evergrant.make_ticket(bigint, text, text, jsonb, text[], text, boolean, text) to evergrant_admin;
    end if;
    if to_regrole('evergrant_web') is not null then
        grant select, insert, update on evergrant.tickets, evergrant.visits to evergrant_web;
        grant select (title, logo_url, colour, return_to_urls) on evergrant.clients to evergrant_web;
        grant update (public_url) on evergrant.installation to evergrant_web;
        grant execute on function evergrant.request_connect(text, text, text, jsonb, text[], text),
            evergrant.connect_url(text), evergrant.is_return_to(text, text[]) to evergrant_web;
    end if;
end $$;
