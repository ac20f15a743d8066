"""The OpenAPI document of the token interface; a test walks the routes and holds it to them."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from models.states.application import Right

TEXT = {"type": "string"}
WHOLE = {"type": "integer", "format": "int64"}

TOKEN = {
    "type": "object",
    "required": ["access_token", "token_type", "expires_at", "generation", "ref", "client", "headers", "api_header"],
    "properties": {
        "access_token": TEXT,
        "token_type": {"type": "string", "const": "Bearer"},
        "expires_at": {"type": "string", "format": "date-time"},
        "generation": WHOLE | {"description": "the number of this token set; what /rejected reports"},
        "ref": TEXT,
        "client": TEXT,
        "headers": {
            "type": "object",
            "additionalProperties": TEXT,
            "description": "what the provider wants beside the token, made from the grant's labels",
        },
        "api_header": TEXT | {"description": "the header that the token belongs in, where {access_token} stands in it"},
    },
}
ERROR = {
    "type": "object",
    "required": ["error", "message", "next"],
    "properties": {
        "error": TEXT,
        "message": TEXT,
        "next": TEXT,
        "explanation": {"$ref": "#/components/schemas/Explanation"},
        "connect": TEXT | {"description": "of needs_consent: the path at which this key makes a link for its user"},
    },
}
MAY_BE_NULL = {"type": ["string", "null"]}
WHEN = {"type": ["string", "null"], "format": "date-time"}
EXPLANATION = {
    "type": "object",
    "description": "why the grant is as it is; absent where too many ask at once",
    "required": [
        "cause",
        "headline",
        "since",
        "chain",
        "next",
        "token",
        "will_retry_at",
        "command",
        "hopeless",
        "well",
    ],
    "properties": {
        "cause": TEXT | {"description": "for programs; the page of the commands lists every one"},
        "headline": TEXT,
        "since": WHEN,
        "chain": {
            "type": "array",
            "description": "what else holds, the outermost first",
            "items": {"type": "object", "properties": {"cause": TEXT, "told": TEXT, "since": WHEN}},
        },
        "next": TEXT | {"description": "what happens by itself"},
        "token": TEXT | {"description": "what there is to hand out meanwhile"},
        "will_retry_at": WHEN,
        "command": MAY_BE_NULL | {"description": "what an operator runs"},
        "hopeless": {"type": "boolean", "description": "to wait alone mends nothing"},
        "well": {"type": "boolean"},
    },
}
EXPLAINED = {
    "type": "object",
    "required": ["ref", "client", "status", "generation", "explanation"],
    "properties": {
        "ref": TEXT,
        "client": TEXT,
        "status": TEXT,
        "generation": WHOLE,
        "explanation": {"$ref": "#/components/schemas/Explanation"},
    },
}
AWAITED = {
    "type": "object",
    "required": ["generation", "ref", "client"],
    "properties": {"generation": WHOLE | {"description": "the one to wait for"}, "ref": TEXT, "client": TEXT},
}
QUEUED = {
    "type": "object",
    "required": ["id", "ref", "held"],
    "properties": {
        "id": {"type": ["integer", "null"], "format": "int64"},
        "ref": TEXT,
        "held": {"type": "boolean", "description": "this key asked for too many: an operator accepts or discards it"},
    },
}

LINK = {
    "type": "object",
    "required": ["url", "expires_at", "ref", "client"],
    "properties": {
        "url": TEXT | {"format": "uri", "description": "for that customer's browser alone; good once"},
        "expires_at": {"type": "string", "format": "date-time"},
        "ref": TEXT,
        "client": TEXT,
    },
}
LABELS = {
    "type": "object",
    "description": "label → value, or a list of values; laid over those that the grant has",
    "additionalProperties": {"anyOf": [TEXT, {"type": "array", "items": TEXT}]},
}

# Every status that a route may answer with, and when.
REFUSALS = {
    400: "a parameter or the body cannot be used, the ref belongs to several clients, or a label must be chosen",
    401: "no application key came, or one that opens nothing or has ended",
    403: "this key may not do that; `right` says what it lacks",
    404: "there is no such grant or client, or this key may not see it",
    405: "the path takes another method",
    408: "the body did not come in time",
    409: "the user must consent again; `reason` says why",
    410: "the grant is revoked, or on its way there",
    413: "the body is larger than 16 KiB",
    429: "this key asks too much; Retry-After says how long to wait",
    500: "a defect of this server",
    503: "nothing can be handed out or asked for now; Retry-After says when to try again",
}
REFUSALS_OF_NOTICES = {
    401: "no proof came",
    404: "no notices are taken here",
    405: REFUSALS[405],
    408: REFUSALS[408],
    413: "the body is larger than 64 KiB",
    429: "too many come, or wait; Retry-After says how long to wait",
    500: REFUSALS[500],
    503: REFUSALS[503],
}
IN_EVERY_CASE = (400, 401, 403, 404, 405, 429, 500, 503)
WITH_BODY = (408, 413)


def _query(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


REF = {"name": "ref", "in": "path", "required": True, "schema": TEXT, "description": "percent-encoded, slashes too"}
CLIENT = _query("client", TEXT, "the client; unneeded where the ref is unique or the key is one client's")
TOKEN_QUERY = [
    CLIENT,
    _query(
        "min_ttl",
        {"type": "number", "minimum": 0, "maximum": 86400, "default": 60},
        "seconds that the token must live at least; it counts for at most a third of its life",
    ),
    _query(
        "wait",
        {"type": "number", "minimum": 0, "maximum": 60, "default": 10},
        "seconds to wait for a refresh where the token is too old",
    ),
    _query(
        "labels",
        {"type": "object", "additionalProperties": TEXT},
        "which value of a label the headers are made from, such as org=8f2; only labels that the provider file uses",
    )
    | {"style": "form", "explode": True},
]


@cache
def document() -> dict[str, Any]:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Evergrant token interface",
            "version": _release(),
            "description": "Fresh access tokens of OAuth 2.0 grants for applications in any language.",
        },
        "security": [{"application_key": []}],
        "components": {
            "securitySchemes": {"application_key": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Token": TOKEN,
                "Explained": EXPLAINED,
                "Explanation": EXPLANATION,
                "Error": ERROR,
                "Awaited": AWAITED,
                "Queued": QUEUED,
                "Link": LINK,
            },
        },
        "paths": {
            "/v1/grants/{ref}": {"get": _explanation()},
            "/v1/grants/{ref}/token": {"get": _token()},
            "/v1/grants/{ref}/rejected": {"post": _rejected()},
            "/v1/grants/{ref}/refresh": {"post": _refresh()},
            "/v1/grants/{ref}/revocation": {"post": _revocation()},
            "/v1/grants/{ref}/connect": {"post": _connect()},
            "/v1/notices/{client}": {"post": _notice("notice"), "delete": _notice("removal")},
            "/openapi.json": {"get": _itself()},
        },
    }


def _release() -> str:
    try:
        return version("evergrant")
    except PackageNotFoundError:
        return "0"


def _needs(*rights: Right) -> list[dict[str, list[str]]]:
    """What a key must be allowed, as roles of the scheme (OpenAPI 3.1, Security Requirement Object)."""
    return [{"application_key": [str(each) for each in rights]}]


def _token() -> dict[str, Any]:
    return {
        "security": _needs(Right.READ),
        "operationId": "token",
        "summary": "An access token that lasts, refreshed first where it is too old",
        "parameters": [REF, *TOKEN_QUERY],
        "responses": _responses(200, "Token", "the token", 409, 410),
    }


def _explanation() -> dict[str, Any]:
    return {
        "security": _needs(Right.READ),
        "operationId": "explain",
        "summary": "Why a grant is as it is; no token is handed out, and none that sleeps is woken",
        "parameters": [REF, CLIENT],
        "responses": _responses(200, "Explained", "the explanation"),
    }


def _rejected() -> dict[str, Any]:
    body = {"generation": WHOLE}
    return {
        "security": _needs(Right.REFRESH),
        "operationId": "rejected",
        "summary": "Report that the provider's API answered 401: the grant is refreshed if that generation is current",
        "parameters": [REF, CLIENT],
        "requestBody": _body(body, required=["generation"]),
        "responses": _responses(202, "Awaited", "noted", 409, 410, *WITH_BODY),
    }


def _refresh() -> dict[str, Any]:
    return {
        "security": _needs(Right.REFRESH),
        "operationId": "refresh",
        "summary": "Queue an early refresh",
        "parameters": [REF, CLIENT],
        "requestBody": _body({}),
        "responses": _responses(202, "Awaited", "queued", 409, 410, *WITH_BODY),
    }


def _revocation() -> dict[str, Any]:
    flags = {name: {"type": "boolean", "default": False} for name in ("missing_ok", "erase")}
    members = {"reason": TEXT, "idempotency_key": TEXT, **flags}
    return {
        "security": _needs(Right.REVOKE),
        "operationId": "revocation",
        "summary": "Queue a revocation; the one that is there already stays. `erase` needs the right to erase, too",
        "parameters": [REF, CLIENT],
        "requestBody": _body(members),
        "responses": _responses(202, "Queued", "queued, or was already", 409, *WITH_BODY),
    }


def _connect() -> dict[str, Any]:
    members = {
        "client": TEXT | {"description": "as the parameter of this name"},
        "return_to": TEXT | {"format": "uri", "description": "an address that the client allows, or below it"},
        "labels": LABELS,
        "scopes": {"type": "array", "items": TEXT, "description": "asked for in place of the client's"},
        "locale": TEXT | {"description": "the language of the pages, such as de"},
    }
    conflict = {"409": {"description": "the client's grants have no user", "content": _content("Error")}}
    return {
        "security": _needs(Right.CONNECT),
        "operationId": "connect",
        "summary": "A link by which a customer connects, or connects again, in their own browser; good for 15 minutes",
        "parameters": [REF, CLIENT],
        "requestBody": _body(members),
        "responses": _responses(201, "Link", "the link", *WITH_BODY) | conflict,
    }


def _notice(operation: str) -> dict[str, Any]:
    client = {"name": "client", "in": "path", "required": True, "schema": TEXT, "description": "the client's name"}
    refusals = {
        str(each): {"description": told, "content": _content("Error")} for each, told in REFUSALS_OF_NOTICES.items()
    }
    return {
        "operationId": operation,
        "summary": "What a provider tells by itself, in its own words, with the proof that its provider file names",
        "security": [],
        "parameters": [client],
        "requestBody": {"required": False, "content": {"*/*": {"schema": {}}}},
        "responses": {"204": {"description": "taken in; a worker proves it"}} | refusals,
    }


def _itself() -> dict[str, Any]:
    content = {"application/json": {"schema": {"type": "object"}}}
    return {
        "operationId": "openapi",
        "summary": "This document",
        "security": [],
        "responses": {"200": {"description": "this document", "content": content}},
    }


def _body(members: dict[str, Any], *, required: list[str] | None = None) -> dict[str, Any]:
    schema = {"type": "object", "additionalProperties": False, "properties": members, "required": required or []}
    return {"required": bool(required), "content": {"application/json": {"schema": schema}}}


def _responses(status: int, schema: str, told: str, *refusals: int) -> dict[str, Any]:
    """The answers of a route: the good one, and a refusal for each status that it may have."""
    good = {str(status): {"description": told, "content": _content(schema)}}
    bad = {
        str(each): {"description": REFUSALS[each], "content": _content("Error")}
        for each in sorted({*IN_EVERY_CASE, *refusals})
    }
    return good | bad


def _content(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
