"""What was asked at the token endpoint, written down apart from the toolkit's own tables."""

import threading
import time
from collections.abc import Callable
from typing import Any

_lock = threading.Lock()
_asked: list[dict[str, Any]] = []


def asked() -> list[dict[str, Any]]:
    """Every request for a refresh so far: at (seconds since the epoch), refresh_token, status."""
    with _lock:
        return list(_asked)


class LedgerMiddleware:
    """Notes each presentation of a refresh token, and how it was answered."""

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        at, token = time.time(), request.POST.get("refresh_token")
        response = self.get_response(request)
        if token is not None and request.path == "/o/token/":
            with _lock:
                _asked.append({"at": at, "refresh_token": token, "status": response.status_code})
        return response
