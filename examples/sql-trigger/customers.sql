-- A customer who is deleted takes the grant along: in the same transaction, or not at all. See README.md.

create schema shop;

create table shop.customers (
    id bigint primary key,
    name text not null
);

-- It runs with the rights of whoever deletes, who needs the role evergrant_requester.
create function shop.revoke_grant_of_customer() returns trigger
language plpgsql
as $$
begin
    -- missing_ok: a customer who never connected can be deleted, too.
    perform evergrant.request_revocation('customer-' || old.id, reason => 'customer deleted', missing_ok => true);
    return null;
end
$$;

create trigger revoke_grant after delete on shop.customers
for each row execute function shop.revoke_grant_of_customer();

-- TRUNCATE fires no row's trigger, and would leave the grants of all customers alive.
create function shop.refuse_truncate() returns trigger
language plpgsql
as $$
begin
    raise exception 'delete the rows of shop.customers: TRUNCATE would revoke no grant';
end
$$;

create trigger refuse_truncate before truncate on shop.customers
for each statement execute function shop.refuse_truncate();
