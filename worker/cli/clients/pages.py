"""What is said of a client's pages, which customers see in their browsers."""

import re
from typing import Any
from urllib.parse import urlsplit

import click

from worker.cli.arguments import Address

LONGEST_TITLE = 80
SHORT, LONG = re.compile(r"#[0-9a-fA-F]{3}"), re.compile(r"#[0-9a-fA-F]{6}")


class ReturnTo(Address):
    """Where customers may be sent: an address and all that lies below it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See that nothing stands in it that a browser reads otherwise than it is written."""
        text = super().convert(value, param, ctx)
        parts = urlsplit(text)
        if parts.query or "@" in parts.netloc or "\\" in text or {".", ".."} & {*parts.path.split("/")}:
            self.fail(f"{text!r} is not a URL without a user, a query and steps such as /../", param, ctx)
        return text


class Title(click.ParamType[str, str]):
    """A line of text; an empty one takes it back."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read the text."""
        text = str(value).strip()
        if len(text) > LONGEST_TITLE or not text.isprintable():
            self.fail(f"it is not one line of at most {LONGEST_TITLE} characters", param, ctx)
        return text


class Logo(click.ParamType[str, str]):
    """The address of a picture; an empty one takes it back."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See that it is one by https."""
        text = str(value).strip()
        parts = urlsplit(text)
        fit = parts.scheme == "https" and parts.hostname and "@" not in parts.netloc and not parts.fragment
        if text and not (fit and text.isprintable() and not any(each in text for each in " \\\"'<>")):
            self.fail(f"{text!r} is not the URL of a picture such as https://app.example/logo.png", param, ctx)
        return text


class Colour(click.ParamType[str, str]):
    """A colour; an empty one takes it back."""

    name = "colour"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read `#rrggbb` or `#rgb`."""
        text = str(value).strip()
        if SHORT.fullmatch(text):
            text = "#" + "".join(each * 2 for each in text[1:])
        if text and not LONG.fullmatch(text):
            self.fail(f"{text!r} is not a colour such as #0a5c36", param, ctx)
        return text.lower()
