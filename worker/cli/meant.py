"""What somebody has meant who misspelt it: a suggestion is made where it is likely, for a wrong one misleads."""

from difflib import SequenceMatcher

ALIKE = 0.75


def is_alike(given: str, meant: str) -> bool:
    """Whether somebody may have meant that: one is the other's beginning, or most of their letters are the same."""
    alike = SequenceMatcher(None, given, meant).ratio() >= ALIKE
    return alike or (len(given) > 1 and (meant.startswith(given) or given.startswith(meant)))
