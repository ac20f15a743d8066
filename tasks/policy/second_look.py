"""Second look: a verdict is not the end, where asking once more harms nothing.

Providers have revoked thousands falsely, and given them back; a policy is lifted. The sealed pair of a dead grant is
kept for a while, so it is asked again an hour, a day and a week after its verdict.
"""

from datetime import timedelta
from typing import Final

from tasks.oauth.rotation import Rotation
from tasks.policy.verdict import Death

LOOKS: Final = (timedelta(hours=1), timedelta(days=1), timedelta(days=7))  # since the verdict
# Whatever becomes of an old refresh token there, to present it once more kills nothing.
HARMLESS: Final = frozenset({Rotation.NONE, Rotation.ON_USE, Rotation.UNTIL_NEXT_REFRESH, Rotation.GRACE})


def first_look(reason: str, rotation: str) -> timedelta | None:
    """How long after a verdict a grant is asked once more; None: never.

    Where an answer was lost at `immediate` and `family` what we hold was spent: it brings nothing, and may kill.
    """
    return LOOKS[0] if rotation in HARMLESS or reason != Death.RESPONSE_LOST else None
