"""Lengths of time and rates, as people write them."""


def length(seconds: float | None) -> str | None:
    """A length of time in its two largest units: `1h 52m`, `4m 10s`, `0.4s`."""
    if seconds is None:
        return None
    if seconds < 10:  # noqa: PLR2004
        return f"{seconds:.1f}s"
    whole = int(seconds)
    for big, small, size in (("d", "h", 86400), ("h", "m", 3600), ("m", "s", 60)):
        if whole >= size:
            rest = whole % size // (size // (24 if big == "d" else 60))
            return f"{whole // size}{big} {rest}{small}"
    return f"{whole}s"


def rate(per_minute: float | None) -> str | None:
    """A rate as users write it: `100/minute`; None is no limit."""
    return None if per_minute is None else f"{per_minute:g}/minute"
