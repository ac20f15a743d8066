"""What a client of this provider is told of a refresh token that is dead: the toolkit's own refusal, in other words."""

import json
import threading
from base64 import b64decode
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from django.http import HttpResponse  # type: ignore[import-untyped]

_lock = threading.Lock()
_words: dict[str, tuple[int, str]] = {}  # by client id


def teach(client_id: str, status: int, body: str) -> None:
    """From now on this client is told so."""
    with _lock:
        _words[client_id] = status, body


class DialectMiddleware:
    """Says in the client's dialect what the toolkit says as RFC 6749 has it; whatever else it says stays its own."""

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        is_refresh = request.path == "/o/token/" and request.POST.get("grant_type") == "refresh_token"
        words = _words.get(_client_id(request)) if is_refresh else None
        response = self.get_response(request)
        if words is None or not _is_refusal_of_the_token(response):
            return response
        status, body = words
        kind = "application/json" if body.startswith(("{", "[")) else "text/html"
        return HttpResponse(body, status=status, content_type=kind)


def _client_id(request: Any) -> str:
    scheme, _, sent = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        return unquote(b64decode(sent).decode().partition(":")[0])
    return str(request.POST.get("client_id", ""))


def _is_refusal_of_the_token(response: Any) -> bool:
    return bool(response.status_code == 400 and json.loads(response.content).get("error") == "invalid_grant")
