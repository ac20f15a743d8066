"""Pages of the public listener: in the client's name and colours, for any browser, with no script in them."""

import secrets
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from models.visit import Guest
from worker.web.public.colours import COLOUR, OURS, text_on
from worker.web.public.words import Language

HERE: Final = Path(__file__).parent
HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # A page's address holds a ticket, a code or a state: nobody is told where its user came from.
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), publickey-credentials-get=(), usb=()",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Robots-Tag": "noindex",
}
HSTS: Final = "max-age=31536000"


@dataclass(frozen=True, slots=True)
class Whose:
    """In whose name a page is."""

    title: str = ""
    provider: str = ""
    logo: str | None = None
    colour: str = OURS

    @classmethod
    def of(cls, guest: Guest, provider: str) -> "Whose":
        """The client's; what cannot be used of it, whoever wrote it into its row, is left out."""
        colour = guest.colour if guest.colour and COLOUR.fullmatch(guest.colour) else OURS
        return cls(guest.title, provider, guest.logo_url if _is_https(guest.logo_url) else None, colour)


NOBODYS: Final = Whose()


def page(
    language: Language,
    said: str,
    whose: Whose = NOBODYS,
    *,
    status: int = 200,
    form: str | None = None,
    back: str | None = None,
    again_in: int | None = None,
    form_goes_to: str = "",
) -> web.Response:
    """One page that says one thing; `form`: what it sends when its button is pressed; `again_in`: seconds."""
    saying = language.sayings[said]
    names = {"title": whose.title, "provider": whose.provider}
    nonce = secrets.token_urlsafe(16)
    text = (
        templates()
        .get_template("page.html")
        .render(
            language=language,
            nonce=nonce,
            title=whose.title,
            logo=whose.logo,
            accent=whose.colour,
            on_accent=text_on(whose.colour),
            heading=saying.heading.format(**names),
            text=saying.text.format(**names),
            next=saying.next.format(**names),
            go_on=language.go_on.format(**names),
            back_to=language.back.format(**names),
            form=form,
            back=back,
            waits=again_in is not None,
        )
    )
    headers = HEADERS | {
        "Content-Security-Policy": policy(nonce, whose.logo, form_goes_to),
        "Content-Language": language.name,
    }
    if again_in is not None:
        headers["Refresh"] = str(again_in)
    return web.Response(text=text, status=status, content_type="text/html", headers=headers)


def policy(nonce: str, logo: str | None, form_goes_to: str = "") -> str:
    """What a browser may load and send for a page of ours: our style, the client's logo, our form.

    Browsers hold `form-action` against every address that the answer to a form leads on to: a provider's, and those
    where it lets its users sign in. `form_goes_to`: where that is none of https.
    """
    parts = ["default-src 'none'", f"style-src 'nonce-{nonce}'"]
    parts += [] if logo is None else [f"img-src {_source(logo)}"]
    parts += [f"form-action 'self' https: {form_goes_to}".rstrip(), "base-uri 'none'", "frame-ancestors 'none'"]
    return "; ".join(parts)


@cache
def templates() -> Environment:
    """The template, which escapes all that it is given."""
    return Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _is_https(url: str | None) -> bool:
    if url is None or not url.isprintable() or any(each in url for each in " \\\"'<>"):
        return False
    parts = urlsplit(url)
    return parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc


def _source(url: str) -> str:
    """An address as a source of a policy: without its query, and with nothing that would end it."""
    parts = urlsplit(url)
    return f"https://{quote(parts.netloc, safe=':.-[]')}{quote(parts.path, safe='/%-._~')}"
