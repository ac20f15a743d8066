"""What stands twice in an import file: refs and refresh tokens seen so far, twelve bytes each."""

from array import array
from bisect import bisect_left

from worker.cli.imports.lines import Bad, Offered

BUCKETS = 4096
HASH_BITS = (1 << 64) - 1


class Seen:
    """Texts with the line that each stood in first.

    A text is known by the 64 bits of Python's own hash, keyed anew in each process: among a million texts two
    different ones look alike once in some forty million imports, and then the later line is told, not lost.
    Hashes lie sorted in many short arrays, so that none is moved far when one comes in.
    """

    def __init__(self) -> None:
        self.buckets = [(array("Q"), array("I")) for _ in range(BUCKETS)]

    def note(self, text: str, line: int) -> int | None:
        """The line where this text stood; one that was not there is noted."""
        number = hash(text) & HASH_BITS
        hashes, lines = self.buckets[number % BUCKETS]
        at = bisect_left(hashes, number)
        if at < len(hashes) and hashes[at] == number:
            return lines[at]
        hashes.insert(at, number)
        lines.insert(at, line)
        return None

    def forget(self, text: str) -> None:
        """Take back what `note` has just noted."""
        number = hash(text) & HASH_BITS
        hashes, lines = self.buckets[number % BUCKETS]
        at = bisect_left(hashes, number)
        del hashes[at], lines[at]


class Repeats:
    """Names the lines whose ref or refresh token stood in an earlier line."""

    def __init__(self) -> None:
        self.refs = Seen()
        self.tokens = Seen()

    def fault(self, found: Offered) -> Bad | None:
        """What is wrong with a line; one that is not at fault is noted."""
        earlier = self.refs.note(found.ref, found.line)
        if earlier is not None:
            return Bad(found.line, f"its ref stands in line {earlier} already", found.ref)
        earlier = self.tokens.note(found.refresh_token, found.line)
        if earlier is not None:
            self.refs.forget(found.ref)
            return Bad(found.line, f"its refresh token stands in line {earlier} already", found.ref)
        return None
