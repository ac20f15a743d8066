"""Tickets in SQL: what an application may ask for, what it is told otherwise, and what stands in the table."""

import hashlib
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from models import erasure, public_listener, ticket
from models.database import transaction
from models.ticket import TicketRefused, TooManyTickets, Wanted
from tests.application_logins import Logins, logins
from tests.harness import Harness

OURS = "https://acme.example/settings"


@pytest.fixture
def client(harness: Harness) -> int:
    made = harness.client()
    harness.run("update evergrant.clients set return_to_urls = :urls", urls=[OURS])
    return made


def ask(ref: str = "customer", **said: Any) -> str:
    """As the web process asks for an application called `billing`."""
    with transaction() as connection:
        return ticket.request(connection, Wanted(ref, **said), application="billing")


def refused(ref: str = "customer", **said: Any) -> TicketRefused:
    with pytest.raises(TicketRefused) as caught:
        ask(ref, **said)
    return caught.value


def test_a_ticket_names_whose_it_is_and_stands_nowhere(harness: Harness, client: int) -> None:
    labels = {"org": "8f2", "site": ["a", "b"]}
    made = ask("customer", labels=labels, return_to=OURS, scopes=["crm_read"], locale="de_AT")

    row = harness.one("select * from evergrant.tickets")
    assert len(made) == 43
    assert bytes(row["ticket_hash"]) == hashlib.sha256(made.encode()).digest()
    assert made not in str(row)
    assert row["labels"] == {"org": ["8f2"], "site": ["a", "b"]}
    assert (row["return_to"], row["scopes"], row["locale"]) == (OURS, ["crm_read"], "de-AT")
    assert row["created_by"].endswith("/billing")
    assert not row["other_account_allowed"]
    left = harness.one("select expires_at - clock_timestamp() as left from evergrant.tickets")["left"]
    assert 890 < left.total_seconds() < 900


def test_no_two_tickets_are_alike(client: int) -> None:
    assert len({ask(f"customer-{n}") for n in range(50)}) == 50


def test_a_link_leads_to_the_public_listener_that_was_started_last(harness: Harness, client: int) -> None:
    query = "select evergrant.connect_url('T') as url"
    assert harness.one(query)["url"] is None
    with transaction() as connection:
        public_listener.begin(connection, "https://connect.acme.example")
        public_listener.begin(connection, "https://connect.acme.example/x")
        public_listener.go_on(connection, "https://connect.acme.example")  # it is still there, and was not started last
    assert harness.one(query)["url"] == "https://connect.acme.example/x/connect/T"
    harness.run("update evergrant.installation set public_url_seen_at = clock_timestamp() - interval '3 minutes'")
    with transaction() as connection:
        public_listener.go_on(connection, "https://connect.acme.example")
    assert harness.one(query)["url"] == "https://connect.acme.example/connect/T"


@pytest.mark.parametrize(("silent_for", "leads"), [("110 seconds", True), ("130 seconds", False)])
def test_a_listener_that_nobody_tells_of_is_believed_for_two_minutes_by_whoever_makes_a_link(
    harness: Harness, client: int, silent_for: str, leads: bool
) -> None:
    with transaction() as connection:
        public_listener.begin(connection, "https://connect.acme.example")
    harness.run(
        "update evergrant.installation set public_url_seen_at = clock_timestamp() - cast(:silent as interval)",
        silent=silent_for,
    )
    assert (harness.one("select evergrant.connect_url('T') as url")["url"] is not None) is leads
    with transaction() as connection:
        assert public_listener.known(connection).is_served is leads


@pytest.mark.parametrize(
    "url",
    [
        OURS,
        OURS + "/",
        OURS + "/a/b?c=d",
        OURS + "?next=/x",
        OURS + "/..a",
    ],
)
def test_a_customer_may_be_sent_to_an_allowed_address_and_below_it(client: int, url: str) -> None:
    assert ask(return_to=url)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/",
        "https://acme.example",
        "https://acme.example/settingsx",
        "https://acme.example/other",
        "http://acme.example/settings",
        "https://acme.example:444/settings",
        "https://acme.example@evil.example/settings",
        "https://acme.example.evil.example/settings",
        OURS + "/../other",
        OURS + "/%2e%2E/other",
        OURS + "/.%2e/other",
        OURS + "%2f..%2fother",
        OURS + "/./x",
        OURS + "/..",
        OURS + "\\evil.example",
        OURS + "/a b",
        OURS + "/a\tb",
        OURS + "/a\r\nSet-Cookie: x=y",
        OURS + "/a#b",
        "//evil.example/settings",
        "/settings",
        "javascript:alert(1)",
        "",
    ],
)
def test_a_customer_may_be_sent_nowhere_else(client: int, url: str) -> None:
    error = refused(return_to=url)
    assert error.state == "22023"
    assert "may not be sent" in str(error)
    assert "--return-to" in error.next


def test_an_allowed_host_without_a_path_allows_no_other_host(harness: Harness, client: int) -> None:
    harness.run("update evergrant.clients set return_to_urls = '{https://acme.example}'")
    assert ask(return_to="https://acme.example/any")
    for url in ("https://acme.example.evil.example/", "https://acme.example@evil.example/", "https://acme.examplex"):
        assert refused(return_to=url).state == "22023"


def test_a_client_of_the_release_before_allows_the_one_address_that_it_has(harness: Harness, client: int) -> None:
    harness.run("update evergrant.clients set return_to_urls = null, return_to = 'https://old.example/x'")
    assert ask(return_to="https://old.example/x/y")
    assert refused(return_to=OURS).state == "22023"


@pytest.mark.parametrize(
    "said",
    [
        {"labels": {"org": ""}},
        {"labels": {"": "x"}},
        {"labels": {"org": "a\nb"}},
        {"labels": {"org": "x" * 1001}},
        {"labels": {"org": []}},
        {"labels": {f"l{n}": "x" * 900 for n in range(20)}},
        {"scopes": ["two words"]},
        {"scopes": [""]},
        {"scopes": ['a"b']},
        {"locale": "<script>"},
        {"locale": "x"},
        {"client": "nobody's"},
        {"return_to": OURS + "/" + "x" * 2000},
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(harness: Harness, client: int, said: dict[str, Any]) -> None:
    error = refused(**said)
    assert error.state in {"22023", "22001", "P0002"}
    assert str(error)
    assert harness.all("select from evergrant.tickets") == []


@pytest.mark.parametrize("ref", ["", "x" * 256, "a\nb"])
def test_a_ref_that_no_grant_can_have_is_refused(client: int, ref: str) -> None:
    assert refused(ref).state in {"22023", "22001"}


def test_the_client_is_the_one_that_has_the_ref_or_the_only_one(harness: Harness, client: int) -> None:
    harness.grant(client, "mine")
    assert ask("new")
    other = harness.client("other")
    assert refused("new").state == "P0003"
    assert ask("mine")
    assert ask("new", client="other")
    harness.grant(other, "mine")
    assert refused("mine").state == "P0003"
    clients = "select client_id from evergrant.tickets order by created_at"
    assert [row["client_id"] for row in harness.all(clients)] == [client, client, other]


def test_of_a_ref_no_more_than_twenty_wait(harness: Harness, client: int) -> None:
    for _ in range(20):
        ask("customer")
    error = refused("customer")
    assert isinstance(error, TooManyTickets)
    assert ask("another")
    harness.run("update evergrant.tickets set used_at = now() where id in (select id from evergrant.tickets limit 1)")
    assert ask("customer")


def test_one_asker_makes_six_hundred_in_a_minute(harness: Harness, client: int) -> None:
    harness.run(
        """insert into evergrant.tickets (ticket_hash, client_id, ref, labels, scopes, other_account_allowed,
            created_by, counted_as, expires_at)
        select sha256(n::text::bytea), :client, 'r' || n, '{}', '{}', false,
            'x', session_user || '/billing', now()
        from generate_series(1, 600) n""",
        client=client,
    )
    assert isinstance(refused("customer"), TooManyTickets)
    with transaction() as connection:
        assert ticket.request(connection, Wanted("customer"), application="other")
    harness.run("update evergrant.tickets set created_at = created_at - interval '61 s'")
    assert ask("customer")


@pytest.fixture
def made(harness: Harness) -> Iterator[Logins]:
    harness.client()
    harness.grant(harness.client("other"), "theirs")
    with logins(harness) as found:
        yield found


def test_an_application_connects_at_its_own_clients_alone(made: Logins, harness: Harness) -> None:
    application = made.application("demo")
    assert application.execute("select evergrant.request_connect('new')").fetchone()
    for question in ("'theirs', client => 'other'", "'new', client => 'other'"):
        with pytest.raises(psycopg.Error) as caught:
            application.execute(f"select evergrant.request_connect({question})".encode())
        assert caught.value.sqlstate == "P0002"
    # A ref of another client's is none to it: it would be a new one of its own.
    application.execute("select evergrant.request_connect('theirs')")
    found = harness.all(
        "select c.name, t.ref from evergrant.tickets t join evergrant.clients c on c.id = t.client_id order by ref"
    )
    assert [(row["name"], row["ref"]) for row in found] == [("demo", "new"), ("demo", "theirs")]


def test_an_application_that_may_not_connect_cannot_ask_and_nobody_lets_another_account_in(made: Logins) -> None:
    application = made.application("demo", may=("read",))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        application.execute("select evergrant.request_connect('new')")
    other = made.application("demo", "other")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        other.execute("select evergrant.make_ticket(1, 'a', null, null, null, null, true)")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        other.execute("select * from evergrant.tickets")


def test_whoever_names_another_asker_for_each_ticket_has_one_limit_all_the_same(made: Logins, harness: Harness) -> None:
    application = made.application("demo")
    for name in ("a", "b"):
        application.execute("select set_config('evergrant.application', %s, false)", [name])
        application.execute("select evergrant.request_connect(%s)", [f"customer-{name}"])
    assert len(harness.all("select distinct counted_as from evergrant.tickets")) == 1


def test_a_grant_that_is_erased_takes_its_tickets_and_its_account_along(harness: Harness, client: int) -> None:
    grant = harness.grant(client)
    ask("customer")
    ask("another")
    harness.run("insert into evergrant.grant_accounts (id, sealed_account) values (:id, 'sealed')", id=grant)
    with transaction() as connection:
        erasure.request(connection, grant, who="tests")
        erasure.erase(connection, [grant], who="tests")
    assert [row["ref"] for row in harness.all("select ref from evergrant.tickets")] == ["another"]
    assert harness.all("select from evergrant.grant_accounts") == []


def test_of_two_browsers_that_press_at_once_one_has_the_ticket(harness: Harness, client: int) -> None:
    ask("customer")
    ticket_id = harness.one("select id from evergrant.tickets")["id"]

    def used(browser: bytes) -> bool:
        with transaction() as connection:
            return bool(ticket.use(connection, [(ticket_id, browser)]))

    assert [used(b"mine"), used(b"other"), used(b"mine")] == [True, False, True]
    harness.run("update evergrant.tickets set expires_at = clock_timestamp()")
    assert not used(b"mine")
