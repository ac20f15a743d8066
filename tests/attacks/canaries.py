"""Canaries: secrets that are known to the test, of every kind, and the search for them in every usual encoding."""

import base64
import json
import secrets
import string
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

PIECE = 12  # characters; what the product itself looks for is shorter
GRAM = 8  # bytes
STRIDE = PIECE - GRAM + 1  # whatever has a piece's length has one whole gram that begins at a multiple of it


class Canaries:
    """Every secret by its kind."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kinds: dict[str, set[str]] = defaultdict(set)

    def of(self, kind: str, length: int = 40) -> str:
        """Make one of letters alone, as words of errors are: what looks like a token is hidden already."""
        return self.know(kind, "".join(secrets.choice(string.ascii_letters) for _ in range(length)))

    def know(self, kind: str, secret: str) -> str:
        """Look for one that somebody else made."""
        with self._lock:
            self._kinds[kind].add(secret)
        return secret

    @property
    def kinds(self) -> set[str]:
        """The kinds of which there is one."""
        return set(self._kinds)

    def found(self, blob: bytes, *, but: Iterable[str] = ()) -> set[str]:
        """The kinds that something holds a piece of, and in which form; `but`: those that may stand there."""
        return self.seeker(but=but)(blob)

    def seeker(self, *, but: Iterable[str] = ()) -> "Seeker":
        """What looks for all that are known by now, in many places."""
        with self._lock:
            known = {kind: sorted(found) for kind, found in self._kinds.items() if kind not in but}
        return Seeker({needle: kind for kind, found in known.items() for each in found for needle in needles(each)})


class Seeker:
    """Looks for needles, each with what it is a piece of.

    There are ten thousand of them and more, and a place has megabytes: to look for each is to read the place as often.
    So a place is read once, a gram of it each few bytes, as far apart as that no needle fits in between; only those of
    which a gram was met are looked for.
    """

    def __init__(self, needles: dict[bytes, str]) -> None:
        self._needles = needles
        self._short = [each for each in needles if len(each) < PIECE]
        self._by_gram: dict[bytes, set[bytes]] = defaultdict(set)
        for needle in needles:
            for at in range(STRIDE if len(needle) >= PIECE else 0):
                self._by_gram[needle[at : at + GRAM]].add(needle)

    def __call__(self, blob: bytes) -> set[str]:
        """What was found."""
        folded = blob.lower()
        likely = {*self._short, *self._met(folded)}
        return {f"{self._needles[needle]} as {needle.decode()}" for needle in likely if needle in folded}

    def _met(self, folded: bytes) -> set[bytes]:
        grams = (folded[at : at + GRAM] for at in range(0, len(folded), STRIDE))
        return {needle for gram in self._by_gram.keys() & grams for needle in self._by_gram[gram]}

    def in_file(self, path: Path) -> set[str]:
        """What a file holds; nothing where it has gone meanwhile."""
        try:
            return self(path.read_bytes())
        except OSError:
            return set()


def needles(secret: str) -> Iterator[bytes]:
    """The first and the last piece of a secret, and its middle, in every encoding, in lower case."""
    middle = (len(secret) - PIECE) // 2
    for piece in {secret[:PIECE], secret[-PIECE:], secret[middle : middle + PIECE]}:
        raw = piece.encode()
        yield raw.lower()
        yield raw.hex().encode()
        yield quote(piece, safe="").lower().encode()
        yield "".join(f"%{each:02x}" for each in raw).encode()
        yield json.dumps(piece)[1:-1].lower().encode()
        yield "".join(f"\\u{ord(each):04x}" for each in piece).encode()
        for before in range(3):  # where it begins within a group of three bytes
            inner = base64.b64encode(bytes(before) + raw).decode().rstrip("=")[(0, 2, 3)[before] : -1]
            yield inner.lower().encode()
            yield inner.lower().replace("+", "-").replace("/", "_").encode()
