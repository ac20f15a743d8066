"""JSON answers of web: one object and a line end, as a person at a terminal likes it."""

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web


def told(members: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Answer with one object."""
    return web.json_response(members, status=status, headers=headers, dumps=_line)


def _line(members: Any) -> str:
    return json.dumps(members) + "\n"
