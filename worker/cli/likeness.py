"""Likeness: which habits, lives, limits and addresses the simulator takes from a provider's file."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from tasks.oauth.fields import ACCESS_TOKEN
from tasks.oauth.provider import Provider
from tasks.oauth.rotation import Rotation
from tasks.oauth.rules import Asked, Means, Rule
from tasks.oauth.shapes import Body, LifeFrom

SAYINGS = {"says_dead": Means.DEAD, "says_wrong_client": Means.OURS, "says_too_many": Means.THROTTLED}
USUAL = {Means.DEAD: 400, Means.OURS: 401, Means.THROTTLED: 429}
SHOWN = {
    "authorize": "authorize_url",
    "token": "token_url",
    "revoke": "revoke_url",
    "introspect": "introspect_url",
    "api": "api_url",
}


@dataclass(frozen=True, slots=True)
class Likeness:
    """What a simulator needs to be like a provider; `rate` in requests a minute, `paths` by endpoint."""

    profile: str
    habits: dict[str, Any]
    lifetime: timedelta
    rate: int | None
    paths: dict[str, list[str]] = field(default_factory=dict)


def likeness_of(provider: Provider) -> Likeness:
    """Read a provider's file as the simulator's habits."""
    return Likeness(
        profile=_profile(provider),
        habits={**_sayings(provider.answers), **_answers(provider)},
        lifetime=timedelta(seconds=provider.default_life_seconds),
        rate=None if provider.rate is None else max(1, int(provider.rate)),
        paths=_paths(provider),
    )


def _profile(provider: Provider) -> str:
    seconds = f":{provider.grace_seconds:g}" if provider.rotation is Rotation.GRACE else ""
    return f"{provider.rotation}{seconds}"


def _sayings(rules: Iterable[Rule]) -> dict[str, str]:
    """How it refuses: by the first rule of the file that means it, where there is one."""
    found: dict[str, str] = {}
    for name, means in SAYINGS.items():
        first = next((rule for rule in rules if rule.to is Asked.REFRESH and rule.means is means), None)
        if first is not None:
            found[name] = said_by(first)
    return found


def said_by(rule: Rule) -> str:
    """An answer that a rule fits, as a habit says one: a status and a body."""
    first = rule.status[0] if rule.status else USUAL.get(rule.means, 400)
    status = first if isinstance(first, int) else int(f"{first[0]}00")
    body: dict[str, Any] = {}
    if "" in rule.where:  # the whole body
        return f"{status} {rule.where[''].strip('*').replace('*', ' … ')}"
    for path, value in rule.where.items():
        _put(body, path.split("."), value.strip("*").replace("*", " … "))
    return f"{status} {json.dumps(body, ensure_ascii=False)}" if body else str(status)


def _put(body: dict[str, Any], path: list[str], value: str) -> None:
    """Put a value where a path leads; a number behind a member makes a list of it."""
    first, *rest = path
    if not rest:
        body[first] = int(value) if value.isdigit() and len(value) < 7 else value  # noqa: PLR2004  # codes are numbers
    elif rest[0].isdigit():
        item = body.setdefault(first, [{}])
        if rest[1:]:
            _put(item[0], rest[1:], value)
        else:
            item[0] = value
    else:
        _put(body.setdefault(first, {}), rest, value)


def _answers(provider: Provider) -> dict[str, Any]:
    """How it answers with tokens, and how its API wants them."""
    member, *_ = provider.token_set.access_token
    within = member.rpartition(".")[0]
    answers = {
        "json_bodies": provider.body is Body.JSON,
        "created_at": False,
        "token_within": within,
        "api_header": provider.api_header.partition(ACCESS_TOKEN)[0],
    }
    return answers | ({"life_member": ""} if provider.life_from is LifeFrom.INTROSPECTION else {})


def _paths(provider: Provider) -> dict[str, list[str]]:
    """The paths of its addresses, by what is asked there."""
    found = {name: [provider.addresses.get(field, "")] for name, field in SHOWN.items()}
    found["token"].append(provider.addresses.get("refresh_url", ""))
    paths = {name: [path for url in urls if (path := _path(url))] for name, urls in found.items()}
    return {name: each for name, each in paths.items() if each}


def _path(url: str) -> str:
    """The path of an address; what a label that is a whole address leaves open counts as its host."""
    if url.startswith("{"):
        url = f"https://host{url.partition('}')[2]}"
    return urlsplit(url).path
