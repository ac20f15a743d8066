"""Faults as values: what they match, how often they strike, what they make of an answer."""

import json

import pytest
from pydantic import ValidationError

from simulator.answers import Answer
from simulator.distortion import distorted
from simulator.fault import Act, Fault, read_fault
from simulator.fault_book import FaultBook
from simulator.http.wire import encoded

ANSWER = Answer(200, "refreshed", {"access_token": "a", "refresh_token": "r", "scope": "x"})


def strike(book: FaultBook, endpoint: str = "token", **seen: str) -> bool:
    found = book.strike(endpoint, seen.get("grant_type", ""), seen.get("client_id", ""), seen.get("ref", ""))
    return found is not None


def test_a_fault_strikes_as_often_as_its_count_says() -> None:
    book = FaultBook()
    book.add(Fault(act=Act.DROP, count=2))
    assert [strike(book) for _ in range(4)] == [True, True, False, False]


def test_a_fault_without_a_count_strikes_until_it_is_cleared() -> None:
    book = FaultBook()
    number = book.add(Fault(act=Act.DROP)).number
    assert all(strike(book) for _ in range(20))
    assert book.clear(number) == 1
    assert not strike(book)


@pytest.mark.parametrize(
    ("fault", "hit", "missed"),
    [
        (Fault(act=Act.DROP, grant_type="refresh_token"), {"grant_type": "refresh_token"}, {"grant_type": "x"}),
        (Fault(act=Act.DROP, client_id="acme"), {"client_id": "acme"}, {"client_id": "other"}),
        (Fault(act=Act.DROP, ref="customer-1"), {"ref": "customer-1"}, {"ref": ""}),
        (Fault(act=Act.DROP, where="revoke"), {"endpoint": "revoke"}, {"endpoint": "token"}),
        (Fault(act=Act.DROP, where="api"), {"endpoint": "token_info"}, {"endpoint": "token"}),
    ],
)
def test_a_fault_strikes_only_where_it_was_set(fault: Fault, hit: dict[str, str], missed: dict[str, str]) -> None:
    book = FaultBook()
    book.add(fault)
    assert strike(book, **hit)
    assert not strike(book, **missed)


def test_the_same_seed_strikes_at_the_same_requests() -> None:
    def struck(seed: int) -> list[bool]:
        book = FaultBook(seed)
        book.add(Fault(act=Act.DROP, probability=0.3))
        return [strike(book) for _ in range(100)]

    assert struck(1) == struck(1) != struck(2)
    assert 10 < sum(struck(1)) < 55


def test_a_patch_sets_and_removes_members() -> None:
    fault = Fault(act=Act.PATCH, patch={"expires_in": "soon", "scope": None}, remove=["refresh_token"])
    assert distorted(fault, ANSWER).body == {"access_token": "a", "expires_in": "soon", "scope": None}


@pytest.mark.parametrize(
    ("fault", "loses"),
    [
        (Fault(act=Act.DELAY), False),
        (Fault(act=Act.DRIP), False),
        (Fault(act=Act.PATCH, patch={"scope": "y"}), False),
        (Fault(act=Act.PATCH, remove=["refresh_token"]), True),
        (Fault(act=Act.PATCH, patch={"refresh_token": 7}), True),
        (Fault(act=Act.STATUS, when="after"), True),
        (Fault(act=Act.TRUNCATE), True),
    ],
)
def test_a_fault_knows_whether_the_refresh_token_still_arrives(fault: Fault, *, loses: bool) -> None:
    assert fault.loses_tokens is loses


def test_a_status_takes_body_and_headers() -> None:
    fault = Fault(act=Act.STATUS, status=429, body='{"error": "invalid_grant"}', headers={"Retry-After": "99999"})
    answer = distorted(fault, ANSWER)
    assert (answer.status, encoded(answer), answer.headers) == (429, b'{"error": "invalid_grant"}', fault.headers)


def test_a_huge_answer_is_valid_json_of_about_the_size_asked_for() -> None:
    body = encoded(distorted(Fault(act=Act.HUGE, size=100_000), ANSWER))
    assert abs(len(body) - 100_000) < 20
    assert json.loads(body)["access_token"] == "a"


def test_what_changes_an_answer_cannot_happen_before_there_is_one() -> None:
    with pytest.raises(ValidationError, match="can only be `after`"):
        Fault(act=Act.PATCH, when="before")
    assert Fault(act=Act.PATCH).when == "after"
    assert Fault(act=Act.DROP).when == "before"


def test_the_short_form_and_json_say_the_same() -> None:
    short = read_fault("status,where=token,when=after,status=504,count=3,headers.Retry-After=5")
    long = read_fault(
        '{"act": "status", "where": "token", "when": "after", "status": 504, "count": 3,'
        ' "headers": {"Retry-After": "5"}}'
    )
    assert short == long


@pytest.mark.parametrize("text", ["explode", "status,colour=red", "status,status=many", "{", "", "[1]"])
def test_a_fault_that_cannot_be_read_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_fault(text)
