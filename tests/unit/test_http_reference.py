"""The OpenAPI document and the page about HTTP say what the routes are."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from worker.web import openapi, parameters, refusal, token_interface
from worker.web.token_interface import TokenInterface
from worker.web.traffic import Traffic

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reference" / "http.md").read_text(encoding="utf-8")
DOCUMENT = openapi.document()


def routes() -> set[tuple[str, str]]:
    """Method and path of every route of the token interface."""
    nothing: Any = None
    app = TokenInterface(nothing, nothing, nothing, nothing, tickets=nothing).application(Traffic(CollectorRegistry()))
    return {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource is not None}


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def refusals() -> set[tuple[int, str]]:
    """Status and code of every refusal that the code of the token interface makes."""
    code = "".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "worker" / "web").glob("*.py")
        if path.name != "operators.py"
    )
    made = {(int(status), error) for status, error in re.findall(r'Refusal\(\s*(\d{3}),\s*"([a-z_]+)"', code)}
    # `_unauthorized` and the table of aiohttp's own errors.
    made |= {(401, error) for error in re.findall(r'_unauthorized\(\s*"([a-z_]+)"', code)}
    made |= {(int(status), error) for status, error in re.findall(r'(\d{3}): \("([a-z_]+)"', code)}
    return made | {(400, "bad_request")}


def test_the_document_has_every_route_and_no_other() -> None:
    assert {(method, path) for method, path, _ in operations()} == routes()


def test_the_page_has_every_route_and_no_other() -> None:
    told = set(re.findall(r"^## `([A-Z]+) (/\S+)`$", PAGE, re.MULTILINE))
    assert told | {("GET", "/openapi.json")} == routes()
    assert "`/openapi.json`" in PAGE


def test_the_page_has_every_error_and_no_other() -> None:
    told = {(int(status), error) for status, error in re.findall(r"^\| (\d{3}) \| `([a-z_]+)` \|", PAGE, re.MULTILINE)}
    assert told == refusals()


def test_the_document_has_every_status_somewhere() -> None:
    told = {int(status) for _, _, operation in operations() for status in operation["responses"]}
    assert told == {status for status, _ in refusals()} | {200, 201, 202, 204}
    assert set(openapi.REFUSALS) == {status for status, _ in refusals()}


def test_every_reference_in_the_document_leads_somewhere() -> None:
    found = set(re.findall(r"'\$ref': '#/components/schemas/(\w+)'", repr(DOCUMENT)))
    assert found == set(DOCUMENT["components"]["schemas"])
    assert all(operation["operationId"] for _, _, operation in operations())


@pytest.mark.parametrize(
    ("name", "default", "most"),
    [
        ("min_ttl", token_interface.MIN_TTL_SECONDS, token_interface.LONGEST_TTL_SECONDS),
        ("wait", token_interface.WAIT_SECONDS, token_interface.LONGEST_WAIT_SECONDS),
    ],
)
def test_defaults_and_bounds_are_told_as_they_are(name: str, default: float, most: float) -> None:
    (schema,) = [each["schema"] for each in openapi.TOKEN_QUERY if each["name"] == name]
    assert (schema["default"], schema["minimum"], schema["maximum"]) == (default, 0, most)
    assert re.search(rf"^\| `{name}` \| {default:g} \|.*up to {most:g}", PAGE, re.MULTILINE)


def test_sizes_are_told_as_they_are() -> None:
    assert f"larger than {parameters.LARGEST_BODY // 1024} KiB" in PAGE
    assert f"at most {parameters.LARGEST_TEXT} characters" in PAGE
    assert f"within {parameters.BODY_SECONDS:g} seconds" in PAGE


def test_each_429_and_503_says_when_to_come_back() -> None:
    later = [made() for made in (refusal.database_away, refusal.schema_behind, refusal.stopping)]
    assert all(int(each.headers["Retry-After"]) > 0 for each in later)
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "worker" / "web").glob("*.py"))
    calls = re.findall(r"Refusal\(\s*(?:429|503),.*?^ *\)$", code, re.MULTILINE | re.DOTALL)
    assert len(calls) >= 8
    assert all("retry_after=" in call for call in calls)


def test_no_repr_shows_a_token_or_a_key_hash() -> None:
    from datetime import UTC, datetime

    from models.application import Holder, hashed, new_key
    from worker.web.grants import Handed

    key = new_key()
    handed = Handed("the-token", datetime.now(UTC), 1, "ref", "client", {}, "Authorization: Bearer {access_token}")
    shown = repr([Holder(1, "billing", None, hashed(key)), handed])
    assert "the-token" not in shown
    assert repr(hashed(key)) not in shown
