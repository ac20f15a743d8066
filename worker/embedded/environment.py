"""What a child gets of our environment: what it needs, named here, and no secret that it has no use for."""

from collections.abc import Mapping

# What is withheld from whoever has no use for it, by how its variables begin: two key rings, and a collector's headers.
WITHHELD = {
    "refresh": "EVERGRANT_REFRESH_TOKEN_KEYS",
    "access": "EVERGRANT_ACCESS_TOKEN_KEYS",
    "traces": "OTEL_",
}
PLAIN = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TZDIR", "TMPDIR", "TERM", "LD_LIBRARY_PATH"}
)
# Of Python, of TLS, of libpq for a database of the user's own, of what sends spans, and our settings.
OURS = ("EVERGRANT_", "PYTHON", "SSL_", "PG", "XDG_", "OTEL_")


def of_an_engine(environment: Mapping[str, str]) -> dict[str, str]:
    """Where programs and temporary files are, and in which language to speak."""
    return {name: value for name, value in environment.items() if name in PLAIN or name.startswith("LC_")}


def of_ours(environment: Mapping[str, str], *, without: tuple[str, ...] = ()) -> dict[str, str]:
    """That, and settings, less what is named in `without`: beat opens nothing, web no refresh token."""
    withheld = tuple(WITHHELD[each] for each in without)
    more = {
        name: value for name, value in environment.items() if name.startswith(OURS) and not name.startswith(withheld)
    }
    return of_an_engine(environment) | more
