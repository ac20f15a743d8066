"""The SQL surface from psql and from Node: what an application that shares no line of code with us sees."""

from pathlib import Path

import pytest

from tests.harness import Harness, token_set
from tests.other_languages import node, postgres_environment, psql

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "reference" / "read-token.mjs"


@pytest.fixture
def url(harness: Harness) -> str:
    assert harness.settings.database_url is not None
    return harness.settings.database_url.get_secret_value()


def test_a_customer_is_deleted_and_revoked_in_one_transaction_from_psql(harness: Harness, url: str) -> None:
    harness.grant(harness.client())
    psql(url, "drop table if exists public.customers; create table public.customers (id int)")
    deleted = """
        begin;
        insert into public.customers values (42);
        delete from public.customers where id = 42;
        select evergrant.request_revocation('customer', reason => 'account deleted', missing_ok => true);
        {end};
        select status, sealed_access_token is null from evergrant.access_tokens;
        """
    assert psql(url, deleted.format(end="rollback")).stdout.splitlines()[-1] == "active|f"
    assert psql(url, deleted.format(end="commit")).stdout.splitlines()[-1] == "revoking|t"
    psql(url, "drop table public.customers")


def test_a_trigger_revokes_when_a_customers_row_is_deleted(harness: Harness, url: str) -> None:
    harness.grant(harness.client())
    done = psql(
        url,
        """
        create table public.people (name text);
        insert into public.people values ('customer'), ('without any grant');
        create function public.gone() returns trigger language plpgsql as $$ begin
            perform evergrant.request_revocation(old.name, reason => 'deleted', missing_ok => true);
            return old;
        end $$;
        create trigger gone after delete on public.people for each row execute function public.gone();
        delete from public.people;
        drop table public.people; drop function public.gone;
        select ref, reason from evergrant.revocations;
        """,
    )
    assert (done.stdout.splitlines(), done.stderr) == (["customer|deleted"], "")


def test_psql_shows_that_a_revocation_is_held_and_what_is_too_long(harness: Harness, url: str) -> None:
    harness.grant(harness.client())
    harness.run("update evergrant.clients set revocation_limit = 0")
    held = psql(url, "select evergrant.request_revocation('customer')")
    assert held.stdout == "1\n"
    assert "revocation 1 is held" in held.stderr
    assert "evergrant clients accept-revocations" in held.stderr
    long = psql(url, "select evergrant.request_revocation('customer', reason => repeat('x', 1001))")
    assert "ERROR:  22001: reason has 1001 characters; 1000 are the most" in long.stderr


@pytest.mark.parametrize("function", ["request_refresh", "request_revocation"])
def test_psql_shows_the_sqlstates(harness: Harness, url: str, function: str) -> None:
    unknown = psql(url, f"select evergrant.{function}('nobody')")
    assert unknown.returncode == 3
    assert "ERROR:  P0002: unknown ref 'nobody'" in unknown.stderr
    harness.grant(harness.client())
    harness.grant(harness.client("other"))
    ambiguous = psql(url, f"select evergrant.{function}('customer')")
    assert "ERROR:  P0003: ref 'customer' belongs to 2 clients" in ambiguous.stderr


def test_node_reads_a_token_reports_it_and_reads_the_next(harness: Harness, url: str) -> None:
    client = harness.client()
    harness.grant(client)
    keys = harness.settings.access_token_keys
    assert keys is not None
    env = {**postgres_environment(url), "EVERGRANT_ACCESS_TOKEN_KEYS": keys.get_secret_value()}
    assert node(SCRIPT, "token", "customer", **env).stdout == "at-customer-1\n"
    assert node(SCRIPT, "rejected", "customer", "1", **env).stdout == "2\n"
    harness.ask(client, token_set("2"))
    assert node(SCRIPT, "token", "customer", **env).stdout == "at-2\n"
    assert node(SCRIPT, "revoke", "customer", "it's over", **env).stdout == "1\n"
    assert harness.one("select reason from evergrant.revocations")["reason"] == "it's over"
    refused = node(SCRIPT, "token", "customer", **env)
    assert refused.returncode == 1
    assert "the grant is revoking" in refused.stderr
