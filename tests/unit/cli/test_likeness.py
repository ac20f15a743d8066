"""Likeness: the simulator says what a provider's file says, so that what is tried there is what will be sent."""

import json
from datetime import timedelta

import pytest

from simulator.answers import refused
from simulator.habits import habits_for
from tasks.oauth.provider import Provider
from worker.cli.likeness import likeness_of

ACME = {
    "name": "acme",
    "token_url": "https://acme.example/oauth2/v4/token",
    "refresh_url": "{api_access_point}/oauth2/v4/refresh",
    "hosts": ["acme.example", "*.acme.example"],
    "rotation": "grace",
    "grace_seconds": 600,
    "default_life_seconds": 1800,
    "rate": "100/minute",
    "api_header": "X-Acme-Token: {access_token}",
    "body": "json",
    "token_set": {"access_token": ["data.access_token"], "refresh_token": ["data.refresh_token"]},
    "answers": [
        {"status": [403, 400], "where": {"error": "unauthorized_client"}, "means": "dead"},
        {"status": "4xx", "where": {"errors.0.code": "*wrong*", "n": "190"}, "means": "ours"},
    ],
}


def test_what_a_file_says_is_what_the_simulator_does() -> None:
    like = likeness_of(Provider.model_validate(ACME))
    assert (like.profile, like.lifetime, like.rate) == ("grace:600", timedelta(minutes=30), 100)
    assert like.paths == {"token": ["/oauth2/v4/token", "/oauth2/v4/refresh"]}
    habits = habits_for(like.profile, "doorkeeper", **like.habits)
    assert (habits.token_within, habits.api_header) == ("data", "X-Acme-Token: ")
    dead = refused(habits.says_dead)
    assert (dead.status, json.loads(dead.body)) == (403, {"error": "unauthorized_client"})
    ours = refused(habits.says_wrong_client)
    assert (ours.status, json.loads(ours.body)) == (400, {"errors": [{"code": "wrong"}], "n": 190})


@pytest.mark.parametrize(
    ("said", "status", "body"),
    [("404 ", 404, None), ("409", 409, None), ("410 Gone, for ever", 410, b"Gone, for ever"), ("200 {}", 200, b"{}")],
)
def test_a_refusal_may_be_any_body_or_none(said: str, status: int, body: bytes | None) -> None:
    answer = refused(said)
    assert (answer.status, answer.body) == (status, body)


def test_who_tells_lives_by_introspection_alone_does_so_in_the_simulator() -> None:
    told = {"life_from": "introspection", "introspect_url": "https://acme.example/services/introspect"}
    like = likeness_of(Provider.model_validate(ACME | told))
    assert habits_for(like.profile, "doorkeeper", **like.habits).life_member == ""
    assert like.paths["introspect"] == ["/services/introspect"]
