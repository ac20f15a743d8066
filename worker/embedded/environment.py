"""What a child gets of our environment: what it needs, named here, and no secret that it has no use for."""

from collections.abc import Mapping

RINGS = {
    ring: tuple(f"EVERGRANT_{ring.upper()}_TOKEN_KEYS{how}" for how in ("", "_FILE", "_COMMAND"))
    for ring in ("refresh", "access")
}
PLAIN = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TZDIR", "TMPDIR", "TERM", "LD_LIBRARY_PATH"}
)
# Of Python, of TLS, of libpq for a database of the user's own, and our settings.
OURS = ("EVERGRANT_", "PYTHON", "SSL_", "PG", "XDG_")


def of_an_engine(environment: Mapping[str, str]) -> dict[str, str]:
    """Where programs and temporary files are, and in which language to speak."""
    return {name: value for name, value in environment.items() if name in PLAIN or name.startswith("LC_")}


def of_ours(environment: Mapping[str, str], *, without: tuple[str, ...] = ()) -> dict[str, str]:
    """That, and settings, less the rings named in `without`: beat opens nothing, web no refresh token."""
    withheld = {name for ring in without for name in RINGS[ring]}
    more = {name: value for name, value in environment.items() if name.startswith(OURS) and name not in withheld}
    return of_an_engine(environment) | more
