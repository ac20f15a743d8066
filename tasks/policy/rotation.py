"""Rotation, found by trying: which request comes next, and what the provider did to the old refresh token.

R0 is the refresh token of a grant that may be lost, R1 what its first refresh brought.

    R0        the same token again                              → none
    R0 again  refused:  R1 is refreshed      it lives           → immediate
                                             it is dead, too    → family
              accepted: the access token of its successor is used, and R0 is sent once more
                        accepted: R1 is refreshed, and R0 is sent once more
                                  accepted                      → grace
                                  refused: that may have been the refresh, or a short grace that ended just then, and
                                           perhaps it killed all. So R2 is refreshed, and sent again when it is older
                                           than R0 was
                                           accepted             → until_next_refresh
                                           refused              → grace
                        refused: that may have been the use, or a short grace that ended just then. So R1 is
                                 refreshed, nothing is used, and R1 is sent again when it is older than R0 was
                                 accepted                       → on_use
                                 refused                        → grace
"""

from collections.abc import Sequence
from enum import Enum, StrEnum


class Step(Enum):
    """What is to be done next."""

    REFRESH = "refresh"  # R0, for the first time
    REPEAT = "repeat"  # R0 again, nothing else having happened
    TRY_SUCCESSOR = "try_successor"  # R1, after R0 was refused: did the repeat kill it?
    USE = "use"  # the first successor's access token is presented
    REPEAT_AFTER_USE = "repeat_after_use"  # R0 once more
    REFRESH_SUCCESSOR = "refresh_successor"  # R1, for the first time
    REPEAT_AFTER_REFRESH = "repeat_after_refresh"  # R0 once more
    TRY_AFTER_REFUSAL = "try_after_refusal"  # R2, after R0 was refused: did the repeat kill it?
    REPEAT_LATE = "repeat_late"  # the last one spent, its successor unused, older than R0 was when it was refused
    USE_LAST = "use_last"  # the newest access token is presented, so that no old pair stays alive unseen


class Seen(Enum):
    """What a step showed."""

    ROTATED = "rotated"  # accepted, with another refresh token
    KEPT = "kept"  # accepted, with the same refresh token or none
    REFUSED = "refused"  # invalid_grant
    USED = "used"  # the access token was presented and is alive
    UNTOLD = "untold"  # it was presented, and the answer does not say what became of it
    NO_ADDRESS = "no_address"  # there is no address to present it at
    BROKEN_OFF = "broken_off"  # no answer that says anything, or somebody else has the grant


class RotationFinding(StrEnum):
    """What a rotation probe found: a profile, or why none."""

    NONE = "none"
    ON_USE = "on_use"
    UNTIL_NEXT_REFRESH = "until_next_refresh"
    GRACE = "grace"
    IMMEDIATE = "immediate"
    FAMILY = "family"
    ON_USE_OR_GRACE = "on_use_or_grace"  # only the use of an access token could tell them apart
    DEAD = "dead"  # the very first refresh was refused
    UNCLEAR = "unclear"


def next_step(seen: Sequence[Seen]) -> Step | RotationFinding:  # noqa: PLR0911  # one a branch of the tree above
    """What comes after what was seen so far; at most eight steps lead to a finding."""
    match tuple(seen):
        case ():
            return Step.REFRESH
        case (Seen.KEPT,):
            return RotationFinding.NONE
        case (Seen.REFUSED,):
            return RotationFinding.DEAD
        case (Seen.ROTATED,):
            return Step.REPEAT
        case (Seen.ROTATED, Seen.REFUSED, *after):
            return _after_refusal(after)
        case (Seen.ROTATED, Seen.ROTATED | Seen.KEPT, *after):
            return _after_repeat(after)
        case _:
            return RotationFinding.UNCLEAR


def _after_refusal(seen: Sequence[Seen]) -> Step | RotationFinding:
    """R0 was refused at once: what did that do to R1?"""
    match seen:
        case []:
            return Step.TRY_SUCCESSOR
        case [Seen.ROTATED | Seen.KEPT]:
            return RotationFinding.IMMEDIATE
        case [Seen.REFUSED]:
            return RotationFinding.FAMILY
        case _:
            return RotationFinding.UNCLEAR


def _after_repeat(seen: Sequence[Seen]) -> Step | RotationFinding:
    """R0 was accepted twice: does it live for a while, or until its successor is used?"""
    match seen:
        case []:
            return Step.USE
        case [Seen.USED | Seen.UNTOLD]:
            return Step.REPEAT_AFTER_USE
        case [Seen.NO_ADDRESS, *after]:
            return _after_living(after, was_used=False)
        case [Seen.USED | Seen.UNTOLD as use, Seen.ROTATED | Seen.KEPT, *after]:
            return _after_living(after, was_used=use is Seen.USED)
        case [Seen.USED | Seen.UNTOLD, Seen.REFUSED, *after]:
            return _after_end(after)
        case _:
            return RotationFinding.UNCLEAR


def _after_living(seen: Sequence[Seen], *, was_used: bool) -> Step | RotationFinding:  # noqa: PLR0911  # one a branch
    """R0 lives although its successor's access token was used, if it was: does it live until R1 is refreshed?"""
    match seen:
        case []:
            return Step.REFRESH_SUCCESSOR
        case [Seen.ROTATED]:
            return Step.REPEAT_AFTER_REFRESH
        case [Seen.ROTATED, Seen.ROTATED | Seen.KEPT]:
            return RotationFinding.GRACE if was_used else RotationFinding.ON_USE_OR_GRACE
        case [Seen.ROTATED, Seen.REFUSED]:
            return Step.TRY_AFTER_REFUSAL
        case [Seen.ROTATED, Seen.REFUSED, Seen.ROTATED]:
            return Step.REPEAT_LATE
        case [Seen.ROTATED, Seen.REFUSED, Seen.ROTATED, Seen.ROTATED | Seen.KEPT]:
            return RotationFinding.UNTIL_NEXT_REFRESH
        case [Seen.ROTATED, Seen.REFUSED, Seen.REFUSED] | [Seen.ROTATED, Seen.REFUSED, Seen.ROTATED, Seen.REFUSED]:
            return RotationFinding.GRACE
        case _:
            return RotationFinding.UNCLEAR


def _after_end(seen: Sequence[Seen]) -> Step | RotationFinding:
    """R0 is dead after its successor was used: because of that, or because its time was over?"""
    match seen:
        case []:
            return Step.REFRESH_SUCCESSOR
        case [Seen.REFUSED] | [Seen.ROTATED, Seen.REFUSED]:
            return RotationFinding.GRACE
        case [Seen.ROTATED]:
            return Step.REPEAT_LATE
        case [Seen.ROTATED, Seen.ROTATED | Seen.KEPT]:
            return Step.USE_LAST
        case [Seen.ROTATED, Seen.ROTATED | Seen.KEPT, _]:
            return RotationFinding.ON_USE
        case _:
            return RotationFinding.UNCLEAR
