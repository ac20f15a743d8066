"""Echoes: whether a provider's text repeats a piece of what went with the request, in any encoding that is usual.

What a provider says is data: it goes into logs, rows and events, and applications read it. A hostile or careless one
says what it was told: the secret that it does not know, the token that it does not take.
"""

import base64
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

PIECE: Final = 8  # characters: so long a piece of a secret is a secret, too
_BETWEEN: Final = "A"  # in no text that is folded
_ESCAPE: Final = re.compile(r"\\u([0-9a-f]{4})")


@dataclass(frozen=True, slots=True)
class Together:
    """Secrets from several places, asked for by each who looks and by nobody else.

    An iterator would tell them to the first who looks and hide nothing from the second, so it is read at once.
    """

    places: tuple[Iterable[str], ...]

    def __post_init__(self) -> None:
        """Keep what can be read once only."""
        kept = tuple(tuple(place) if isinstance(place, Iterator) else place for place in self.places)
        object.__setattr__(self, "places", kept)

    def __iter__(self) -> Iterator[str]:
        for place in self.places:
            yield from place


def repeats(text: str, secrets: Iterable[str]) -> bool:
    """Whether a text holds a piece of a secret, or the whole of a short one; letter case counts nothing.

    As it is, percent-encoded, in base64 of either alphabet at any place within a longer text, in hexadecimal, or in
    JSON's escapes. `secrets` are asked for only where the text is long enough to hold one.
    """
    if not text:
        return False
    readings = tuple(_readings(text))
    pieces = {reading[at : at + PIECE] for reading in readings for at in range(len(reading) - PIECE + 1)}
    forms = [form for secret in secrets for form in _forms(secret)]
    long = _BETWEEN.join(form for form in forms if len(form) >= PIECE)  # one text, for each piece is looked for
    return any(piece in long for piece in pieces) or any(
        form in reading for form in forms if len(form) < PIECE for reading in readings
    )


def _readings(text: str) -> Iterator[str]:
    """The text, and what stands behind its escapes, folded."""
    folded = _folded(text)
    yield folded
    if "%" in folded:
        yield _folded(unquote(folded))
    if "\\u" in folded:
        yield _folded(_ESCAPE.sub(lambda found: chr(int(found[1], 16)), folded))


def _forms(secret: str) -> Iterator[str]:
    """A secret as it may be written, folded; of a short one as it is alone, for its encodings are everywhere."""
    if not secret:
        return
    raw = secret.encode("utf-8", "surrogatepass")
    yield _folded(secret)
    if len(secret) < PIECE:
        return
    yield _folded(quote(raw, safe=""))
    yield raw.hex()
    for before, spoilt in ((0, 0), (1, 2), (2, 3)):  # where it begins within a group of three bytes
        yield _folded(base64.b64encode(bytes(before) + raw).decode().rstrip("="))[spoilt:]


def _folded(text: str) -> str:
    """Lower case, and one alphabet for both of base64's."""
    return text.lower().replace("-", "+").replace("_", "/")
