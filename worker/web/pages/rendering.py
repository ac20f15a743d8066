"""How pages are made: templates that escape all they are given, and headers that let a browser do nothing else."""

from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from models.states.grant import GrantStatus
from tasks.policy.advice import named
from worker.cli import output
from worker.cli.units import length

HERE: Final = Path(__file__).parent
# Whatever text from outside might be taken for: nothing is loaded but the one style sheet and the one script of ours,
# nothing is sent anywhere but a search to ourselves, and no page stands in another's frame.
POLICY: Final = "; ".join(
    (
        *("default-src 'none'", "style-src 'self'", "script-src 'self'", "connect-src 'self'", "form-action 'self'"),
        *("base-uri 'none'", "frame-ancestors 'none'"),
    )
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
KINDS: Final = {".css": "text/css", ".js": "text/javascript"}
# How a word looks; what each means, the words say as well.
TONES: Final = {
    **dict.fromkeys((GrantStatus.ACTIVE, "open", "done", "verified", "delivered"), "good"),
    **dict.fromkeys((GrantStatus.PAUSED, GrantStatus.REVOKING, "queued", "waiting", "holding", "held"), "soon"),
    **dict.fromkeys((GrantStatus.NEEDS_CONSENT, "shut", "dead", "damaged"), "bad"),
}


def page(template: str, *, status: int = 200, at: datetime | None = None, **facts: Any) -> web.Response:
    """One page; `at`: the database's time, for all that is told as far away."""
    text = templates().get_template(template).render(at=at, **facts)
    return web.Response(text=text, status=status, content_type="text/html", headers=HEADERS)


def asset(name: str) -> web.Response:
    """The style sheet or the script; a file of ours by its whole name, so that no path leads elsewhere."""
    path = HERE / "static" / name
    return web.Response(
        body=path.read_bytes(), headers={**HEADERS, "Content-Type": f"{KINDS[path.suffix]}; charset=utf-8"}
    )


@cache
def templates() -> Environment:
    """The templates; a name that a page does not know is an error and no empty place."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"cell": output.cell, "time": _time, "ago": _ago, "tone": tone, "words": _words}
    made.filters |= {"seconds": lambda value: length(value) or "-", "number": _number}
    made.globals |= {"grant_url": grant_url, "client_url": client_url, "search_url": search_url, "named": named}
    return made


def grant_url(client: str, ref: str) -> str:
    """Where one grant is; a browser takes some refs for steps in a path, which they are not in a query."""
    if set(ref) <= {"."}:
        return f"/grants/{quote(client, safe='')}/?{urlencode({'ref': ref})}"
    return f"/grants/{quote(client, safe='')}/{quote(ref, safe='')}"


def client_url(name: str) -> str:
    """Where one client is."""
    return f"/clients/{quote(name, safe='')}"


def search_url(path: str = "/grants", **wanted: Any) -> str:
    """Where a search leads."""
    given = {name: str(value) for name, value in wanted.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path


def tone(word: Any) -> str:
    """The class of a word by which it is coloured."""
    return TONES.get(word, "plain")


def _time(value: datetime | None) -> Markup:
    """A time as every command writes it, for people and for programs."""
    if value is None:
        return Markup("-")
    written = output.iso(value)
    return Markup('<time datetime="{0}">{1}</time>').format(written, written.replace("T", " "))


def _ago(value: datetime | None, at: datetime | None) -> str:
    """How far away a time is."""
    if value is None or at is None:
        return ""
    away = (value.astimezone(UTC) - at).total_seconds()
    return f"in {length(away)}" if away >= 0 else f"{length(-away)} ago"


def _words(name: Any) -> str:
    """A name of a field or a state as words."""
    return str(name).replace("_", " ")


def _number(value: Any) -> str:
    """A number that people can read."""
    if isinstance(value, timedelta):
        return length(value.total_seconds()) or "-"
    return "-" if value is None else f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
