"""JSON answers of web: one object and a line end, as a person at a terminal likes it."""

import json
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

JSON: Final = "application/json; charset=utf-8"


def told(members: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Answer with one object."""
    line = (json.dumps(members) + "\n").encode()
    return web.Response(body=line, status=status, headers={**(headers or {}), "Content-Type": JSON})
