"""The rotation profile: what a provider does to the old refresh token.

The one source of these words: the database's CHECK on a client's column, and the SQL statements, are held to it by a
test. Imports nothing, so that beat, which sends no request, may ask for it.
"""

from enum import StrEnum
from typing import Final


class Rotation(StrEnum):
    """What the provider does to the old refresh token after a refresh."""

    NONE = "none"  # it stays
    ON_USE = "on_use"  # it lives until the access token of its direct successor is first used
    UNTIL_NEXT_REFRESH = "until_next_refresh"  # it lives until the new refresh token is first used
    GRACE = "grace"  # it lives `grace_seconds`
    IMMEDIATE = "immediate"  # it dies at once
    FAMILY = "family"  # it dies, and using it again kills the winner's tokens too


KEEP_PREDECESSORS: Final = (Rotation.NONE, Rotation.ON_USE, Rotation.UNTIL_NEXT_REFRESH)
"""Where a refresh token that was replaced lives on, and not only for seconds: it is kept until it is known dead."""
