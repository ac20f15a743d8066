"""A customer connects in a browser: from the link to every end that there is."""

import re
import threading
from urllib.parse import parse_qs, urlsplit

import pytest

from models import operator_actions, ticket_listing, visit
from models.database import transaction
from models.states.visit import VisitOutcome, VisitReason
from tasks.settling import replay
from tests.integration.public.browser import PUBLIC_URL, Browser
from tests.integration.public.conftest import Exchanging, Scene
from tests.integration.web.asking import Answer
from tests.integration.web.page import Page

GRANTS = "select ref, status, generation, labels from evergrant.grants order by created_at"
ENDS = "select outcome, reason, code from evergrant.visits order by began_at"


def words(answer: Answer) -> str:
    return Page(answer).words


def told(answer: Answer) -> dict[str, str]:
    """What an application is told, once it is seen where its customer was sent."""
    assert answer.status == 303, answer.body
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}


def test_a_customer_connects_and_the_page_says_so_in_the_clients_name(scene: Scene, working: Exchanging) -> None:
    ended = scene.browser.connect(scene.link(labels={"org": "8f2"}))

    assert "Acme Shop is connected with your account at The bundled simulator" in words(ended)
    assert scene.rows(GRANTS) == [("customer-42", "active", 1, {"org": ["8f2"]})]
    assert scene.rows(ENDS) == [("connected", None, None)]


def test_a_customer_is_sent_back_to_the_application_with_how_it_ended(scene: Scene, working: Exchanging) -> None:
    answer = scene.browser.connect(scene.link(return_to="https://acme.example/settings?tab=2"))

    assert answer.headers["location"].startswith("https://acme.example/settings?tab=2&")
    assert told(answer) == {"tab": "2", "evergrant": "connected", "ref": "customer-42"}


def test_a_customer_who_says_no_is_told_so_and_nothing_is_sent(scene: Scene, working: Exchanging) -> None:
    scene.provider.decide_automatically("deny")

    page = scene.browser.connect(scene.link("a"))
    answer = scene.browser.connect(scene.link("b", return_to="https://acme.example/settings"))

    assert "Not connected" in words(page)
    assert "you said no" in words(page)
    assert told(answer) == {"evergrant": "denied", "ref": "b"}
    assert scene.rows(ENDS) == [("denied", None, "access_denied")] * 2
    assert scene.provider.requests(endpoint="token") == []
    assert scene.rows(GRANTS) == []


def test_an_error_of_the_provider_is_no_denial(scene: Scene) -> None:
    state = state_in(scene.browser.press(scene.browser.open(scene.link()), follow=False))

    ended = scene.browser.open(f"{PUBLIC_URL}/callback?error=server_error&error_description=%3Cb%3Eboo&state={state}")

    assert "error of its own" in words(ended)
    assert b"boo" not in ended.body
    assert scene.rows(ENDS) == [("failed", "provider_error", "server_error")]


def state_in(sent: Answer) -> str:
    """The state that a browser takes along to the provider."""
    assert sent.status == 303, sent.body
    return parse_qs(urlsplit(sent.headers["location"]).query)["state"][0]


def back(browser: Browser, link: str) -> str:
    """Go to the provider and say yes there; the address that it sends back to, which nobody has opened yet."""
    sent = browser.press(browser.open(link), follow=False)
    return browser.open(sent.headers["location"], follow=False).headers["location"]


# Links


def test_to_look_at_a_link_uses_nothing_up_however_often(scene: Scene, working: Exchanging) -> None:
    shared = scene.link()
    for preview in (Browser(scene.public), Browser(scene.public, keeps_cookies=False)):
        assert "Connect Acme Shop with The bundled simulator" in words(preview.open(shared))

    assert "is connected" in words(scene.browser.connect(shared))


def test_a_link_is_good_for_one_browser(scene: Scene, working: Exchanging) -> None:
    shared = scene.link()
    scene.browser.connect(shared)
    other = Browser(scene.public)

    assert "used already" in words(other.open(shared))
    assert other.press(other.open(scene.link())).status == 200
    assert "is connected" in words(scene.browser.open(shared))  # whoever used it sees what became of it


def test_a_page_that_was_opened_before_another_browser_used_the_link_presses_in_vain(scene: Scene) -> None:
    shared, other = scene.link(), Browser(scene.public)
    first, second = scene.browser.open(shared), other.open(shared)
    assert scene.browser.press(first, follow=False).status == 303

    assert "used already" in words(other.press(second))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("expires_at = clock_timestamp()", "expired"),
        ("revoked_at = clock_timestamp()", "taken back"),
        ("ticket_hash = 'x'", "leads nowhere"),
    ],
)
def test_a_link_that_has_ended_says_how_and_begins_nothing(scene: Scene, change: str, said: str) -> None:
    shared = scene.link()
    opened = scene.browser.open(shared)
    scene.harness.run(f"update evergrant.tickets set {change}")  # noqa: S608

    pressed = scene.browser.press(opened)

    assert said in words(pressed)
    assert said in words(scene.browser.open(shared))
    assert pressed.status in (404, 410)
    assert scene.rows("select from evergrant.visits") == []


def test_a_link_that_has_ended_leads_back_to_the_application(scene: Scene) -> None:
    shared = scene.link(return_to="https://acme.example/settings")
    scene.harness.run("update evergrant.tickets set expires_at = clock_timestamp()")

    (leads,) = Page(scene.browser.open(shared)).links()

    assert leads == "https://acme.example/settings?evergrant=failed&ref=customer-42&reason=expired"


@pytest.mark.parametrize("ticket", ["x", "x" * 43, "x" * 5000, "%00", "..%2F..%2Fetc%2Fpasswd", "%ff"])
def test_what_was_never_a_ticket_leads_nowhere(scene: Scene, ticket: str) -> None:
    assert "leads nowhere" in words(scene.browser.open(f"{PUBLIC_URL}/connect/{ticket}"))


def test_a_browser_without_cookies_is_told_so_and_its_link_is_still_good(scene: Scene, working: Exchanging) -> None:
    shared, blocked = scene.link(), Browser(scene.public, keeps_cookies=False)

    assert "kept nothing" in words(blocked.connect(shared))
    assert "is connected" in words(scene.browser.connect(shared))


def test_a_form_of_another_site_begins_nothing(scene: Scene) -> None:
    """It cannot know what ours holds, even where a scene.browser sends our cookie along with it."""
    scene.browser.open(scene.link())

    for fields in ({}, {"form": "0" * 64}, {"form": ""}):
        assert scene.browser.send(fields).status == 403
    assert scene.rows("select from evergrant.visits") == []


@pytest.mark.parametrize(
    "form_type",
    [
        "application/x-www-form-urlencoded; charset=zip",
        "application/x-www-form-urlencoded; charset=idna",
        "application/x-www-form-urlencoded; charset=undefined",
        "multipart/form-data",
        "multipart/form-data; boundary=x",
        "multipart/form-data; boundary=" + 80 * "x",
        'text/plain; charset="',
    ],
)
def test_a_form_that_nobody_of_us_would_send_begins_nothing_and_is_no_failure_of_ours(
    scene: Scene, form_type: str
) -> None:
    scene.browser.open(scene.link())
    scene.browser.form_type = form_type
    assert scene.browser.send({"form": "\N{SNOWMAN}" + "0" * 64}).status == 403
    assert scene.browser.send({"form": "0" * 5000}).status == 413
    assert scene.rows("select from evergrant.visits") == []


# Coming back


def test_an_answer_counts_in_the_browser_that_had_begun_and_in_no_other(scene: Scene) -> None:
    """Else whoever forwards the provider's scene.link would have a stranger's account connected as their own."""
    callback, stranger = back(scene.browser, scene.link()), Browser(scene.public)
    stranger.open(scene.link("stranger"))

    assert "another browser" in words(stranger.open(callback))
    assert scene.rows("select sealed_answer from evergrant.visits") == [(None,)]
    assert scene.browser.open(callback, follow=False).status == 303


@pytest.mark.parametrize("query", ["", "code=x", "state=", "code=x&state=nobodys", "state=a&state=b&code=x"])
def test_a_state_that_nobody_was_given_leads_nowhere(scene: Scene, query: str) -> None:
    assert "leads nowhere" in words(scene.browser.open(f"{PUBLIC_URL}/callback?{query}"))


def test_an_answer_that_comes_again_is_exchanged_once(scene: Scene) -> None:
    callback = back(scene.browser, scene.link())
    first = scene.browser.open(callback, follow=False)
    scene.worker.once()

    again = [scene.browser.open(address) for address in (callback, callback.replace("code=", "code=x"), callback)]

    assert all("is connected" in words(each) for each in again)
    assert scene.browser.open(first.headers["location"].join([PUBLIC_URL, ""])).status == 200
    scene.worker.once()
    assert len(scene.provider.requests(endpoint="token")) == 1
    assert [generation for _, _, generation, _ in scene.rows(GRANTS)] == [1]


def test_two_tabs_of_one_browser_end_in_one_grant(scene: Scene) -> None:
    shared = scene.link()
    first, second = back(scene.browser, shared), back(scene.browser, shared)  # as after the back button

    assert "in another tab" in words(scene.browser.open(first))
    assert scene.browser.open(second, follow=False).status == 303
    scene.worker.once()

    assert "is connected" in words(scene.browser.open(second))
    assert len(scene.rows(GRANTS)) == 1
    assert len(scene.provider.requests(endpoint="token")) == 1


def test_two_links_may_be_under_way_in_one_browser(scene: Scene) -> None:
    callbacks = [back(scene.browser, scene.link("a")), back(scene.browser, scene.link("b"))]
    for callback in callbacks:
        scene.browser.open(callback, follow=False)
    scene.worker.once()

    assert all("is connected" in words(scene.browser.open(each)) for each in callbacks)
    assert {ref for ref, *_ in scene.rows(GRANTS)} == {"a", "b"}


def test_an_answer_of_another_server_is_not_used(scene: Scene) -> None:
    """Mix-up (RFC 9207): the scene.browser was led to another server, whose code is none for us."""
    scene.harness.run(
        """update evergrant.clients set updated_at = clock_timestamp(),
            overrides = overrides || '{"issuer": "https://id.example", "issuer_in_callback": true}'"""
    )
    callback = back(scene.browser, scene.link())

    for issuer in ("&iss=https%3A%2F%2Fevil.example", "", "&iss=https%3A%2F%2Fid.example" * 2):
        assert "came from elsewhere" in words(scene.browser.open(callback + issuer))
    assert scene.rows("select sealed_answer from evergrant.visits") == [(None,)]
    assert scene.browser.open(callback + "&iss=https%3A%2F%2Fid.example", follow=False).status == 303


def test_whoever_comes_back_too_late_is_told_so(scene: Scene) -> None:
    callback = back(scene.browser, scene.link())
    scene.harness.run("update evergrant.connect_requests set expires_at = clock_timestamp()")

    assert "took too long" in words(scene.browser.open(callback))
    assert scene.rows("select sealed_answer from evergrant.visits") == [(None,)]


def test_a_ticket_that_was_taken_back_lets_nobody_come_back(scene: Scene) -> None:
    callback = back(scene.browser, scene.link())
    scene.harness.run("update evergrant.tickets set revoked_at = clock_timestamp()")

    assert "taken back" in words(scene.browser.open(callback))


def test_the_address_with_the_code_is_left_at_once(scene: Scene) -> None:
    callback = back(scene.browser, scene.link())
    code = parse_qs(urlsplit(callback).query)["code"][0]

    answer = scene.browser.open(callback, follow=False)

    assert re.fullmatch(r"/outcome/[0-9a-f-]{36}", answer.headers["location"])
    assert code.encode() not in answer.body


def test_the_outcome_is_shown_to_the_browser_whose_it_is_alone(scene: Scene) -> None:
    outcome = PUBLIC_URL + scene.browser.open(back(scene.browser, scene.link()), follow=False).headers["location"]
    scene.worker.once()

    assert "is connected" in words(scene.browser.open(outcome))
    assert "another browser" in words(Browser(scene.public).open(outcome))
    assert scene.browser.open(f"{PUBLIC_URL}/outcome/none").status == 404


# Ends of the exchange


def ended(browser: Browser, link: str, worker: Exchanging) -> Answer:
    """Connect, with a worker that looks once."""
    callback = back(browser, link)
    outcome = PUBLIC_URL + browser.open(callback, follow=False).headers["location"]
    worker.once()
    return browser.open(outcome)


@pytest.mark.parametrize(
    ("body", "status", "reason", "said"),
    [
        ('{"error": "invalid_client"}', 401, "exchange_refused", "a reason that is not yours"),
        ('{"error": "invalid_grant"}', 400, "exchange_refused", "a reason that is not yours"),
        ("<html>bad gateway</html>", 502, "exchange_unclear", "its answer never arrived"),
        ('{"access_token": "at", "token_type": "Bearer"}', 200, "no_refresh_token", "cannot be kept"),
    ],
)
def test_what_the_exchange_came_to_is_told_with_what_to_do(
    scene: Scene, body: str, status: int, reason: str, said: str
) -> None:
    scene.provider.add_fault("status", where="token", body=body, status=status)

    page = ended(scene.browser, scene.link(), scene.worker)
    sent = ended(scene.browser, scene.link("b", return_to="https://acme.example/settings"), scene.worker)

    assert said in words(page)
    assert told(sent)["evergrant"] == "failed"
    assert told(sent)["reason"] == reason
    assert [(outcome, why) for outcome, why, _ in scene.rows(ENDS)] == [("failed", reason)] * 2
    assert scene.rows("select from evergrant.visits where sealed_answer is not null") == []


def test_a_provider_that_cannot_be_reached_is_asked_again_while_the_code_lives(scene: Scene) -> None:
    right = "update evergrant.clients set updated_at = clock_timestamp(), overrides = overrides || "
    callback = back(scene.browser, scene.link())
    (good,) = scene.rows("select overrides ->> 'token_url' from evergrant.clients")
    scene.harness.run(right + '\'{"token_url": "http://127.0.0.1:9/token"}\'')
    outcome = PUBLIC_URL + scene.browser.open(callback, follow=False).headers["location"]
    scene.worker.once()

    waits = scene.browser.open(outcome)
    assert "cannot be asked right now" in words(waits)
    assert int(waits.headers["refresh"]) > 0

    scene.harness.run(right + "jsonb_build_object('token_url', cast(:url as text))", url=good[0])
    scene.harness.run("update evergrant.visits set offered_at = offered_at - interval '1 minute'")
    scene.worker.once()
    assert "is connected" in words(scene.browser.open(outcome))


@pytest.mark.parametrize("is_told", [True, False])
def test_a_code_that_nobody_could_send_in_its_life_is_told_as_lapsed(scene: Scene, client: int, is_told: bool) -> None:
    callback = back(scene.browser, scene.link())
    with transaction() as connection:
        operator_actions.pause_client(connection, client, who="tests")
    outcome = PUBLIC_URL + scene.browser.open(callback, follow=False).headers["location"]
    if is_told:
        scene.worker.once()
    scene.harness.run("update evergrant.visits set answered_at = answered_at - interval '11 minutes'")

    assert "your consent has lapsed" in words(scene.browser.open(outcome))
    assert scene.worker.once() == 0

    with transaction() as connection:
        visit.tend(connection)
    assert scene.rows("select outcome, reason, sealed_answer from evergrant.visits") == [
        ("failed", "client_paused" if is_told else "too_late", None)
    ]


def test_a_worker_that_dies_with_the_answer_in_its_journal_loses_nothing(scene: Scene) -> None:
    outcome = PUBLIC_URL + scene.browser.open(back(scene.browser, scene.link()), follow=False).headers["location"]
    scene.worker.dies_before_it_stores()
    assert "Still working" in words(scene.browser.open(outcome))
    assert scene.worker.once() == 0

    replay.drain_others(scene.harness.runtime)

    assert "is connected" in words(scene.browser.open(outcome))
    assert len(scene.provider.requests(endpoint="token")) == 1
    assert [generation for _, _, generation, _ in scene.rows(GRANTS)] == [1]


def test_a_worker_that_dies_without_an_answer_is_told_with_what_to_do(scene: Scene) -> None:
    """As soon as its journal was read to the end, which holds nothing of it."""
    outcome = PUBLIC_URL + scene.browser.open(back(scene.browser, scene.link()), follow=False).headers["location"]
    scene.harness.run("update evergrant.connect_requests set used_at = clock_timestamp()")
    scene.harness.run("update evergrant.visits set journal_id = 7")
    assert "Still working" in words(scene.browser.open(outcome))

    scene.harness.run(
        """insert into evergrant.journals (id, host, process, seen_at, drained_at) overriding system value
        values (7, 'here', '1', now(), now())"""
    )

    assert "You lose nothing by connecting once more" in words(scene.browser.open(outcome))
    with transaction() as connection:
        visit.tend(connection)
    assert scene.rows(ENDS) == [("failed", "exchange_unclear", None)]

    # And where a journal has it after all, nothing that is told says otherwise.
    (row,) = scene.rows("select id from evergrant.visits")
    scene.harness.grant(scene.harness.one("select id from evergrant.clients")["id"], "customer-42")
    scene.harness.run("update evergrant.grants set id = :id", id=row[0])
    with transaction() as connection:
        (found,) = ticket_listing.listed(connection, client=None, ref=None, state=None, most=9)
    assert (found["state"], found["reason"]) == ("connected", None)


def test_a_page_that_waits_says_so_and_looks_again(scene: Scene) -> None:
    """Nobody exchanges: within its ten seconds the page says that it is at work."""
    outcome = PUBLIC_URL + scene.browser.open(back(scene.browser, scene.link()), follow=False).headers["location"]

    waits = scene.browser.open(outcome)

    assert "Still working" in words(waits)
    assert waits.headers["refresh"] == "3"
    assert "http" not in waits.headers["refresh"]  # itself, and nothing of it in the page


def test_many_that_wait_are_looked_up_together(scene: Scene) -> None:
    outcomes = []
    for n in range(5):
        sent = scene.browser.open(back(scene.browser, scene.link(f"c{n}")), follow=False)
        outcomes.append(PUBLIC_URL + sent.headers["location"])
    found: list[str] = []
    readers = [
        threading.Thread(target=lambda url=url: found.append(words(_copy(scene.browser).open(url)))) for url in outcomes
    ]
    for each in readers:
        each.start()
    scene.worker.once()
    for each in readers:
        each.join()

    assert len(found) == 5
    assert all("is connected" in each for each in found)


def _copy(browser: Browser) -> Browser:
    made = Browser(browser.public)
    made.cookies = dict(browser.cookies)
    return made


def test_of_two_answers_at_once_the_first_counts(scene: Scene) -> None:
    scene.browser.press(scene.browser.open(scene.link()), follow=False)
    ((visit_id,),) = scene.rows("select id from evergrant.visits")
    for sealed, is_first in ((b"first", True), (b"second", False)):
        with transaction() as connection:
            assert visit.answer(connection, {visit_id: sealed}) == ({visit_id} if is_first else set())
    assert scene.rows("select sealed_answer from evergrant.visits") == [(b"first",)]
    with transaction() as connection:
        assert visit.end(connection, visit_id, VisitOutcome.CONNECTED, None)
        assert not visit.end(connection, visit_id, VisitOutcome.FAILED, VisitReason.UNFIT)
    assert scene.rows(ENDS) == [("connected", None, None)]
