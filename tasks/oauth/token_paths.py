"""Token paths: where a token answer says what, for providers that do not say it where RFC 6749 §5.1 does."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from tasks.oauth.fields import Label
from tasks.oauth.fields import Path as PathInAnswer

Steps = tuple[str, ...]  # of one path: `data.access_token` is ("data", "access_token")


class TokenPaths(BaseModel):
    """Where an answer says what: dotted paths, of which the first that is there counts."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True
    )

    access_token: tuple[PathInAnswer, ...] = ("access_token",)
    """The access token."""
    refresh_token: tuple[PathInAnswer, ...] = ("refresh_token",)
    """The refresh token."""
    expires_in: tuple[PathInAnswer, ...] = ("expires_in",)
    """Seconds that the access token lives on, a number or text."""
    expires_at: tuple[PathInAnswer, ...] = ("expires_at",)
    """Where there is no `expires_in`: its end, in ISO 8601, or in seconds or milliseconds since 1970."""
    scope: tuple[PathInAnswer, ...] = ("scope",)
    """What it covers."""
    refresh_expires_in: tuple[PathInAnswer, ...] = (
        "refresh_token_expires_in",
        "x_refresh_token_expires_in",
        "refresh_expires_in",
    )
    """Seconds that the refresh token lives on; 0 or less: it does not expire."""
    refresh_expires_at: tuple[PathInAnswer, ...] = ("refresh_token_expires_at", "refresh_expires_at")
    """Its end, where there is none of these."""
    consent_expires_in: tuple[PathInAnswer, ...] = ("x_refresh_token_hard_expires_in", "consent_expires_in")
    """Seconds until the user must consent again, however often it is refreshed."""

    @cached_property
    def is_plain(self) -> bool:
        """Whether they are those of RFC 6749, as nearly everywhere: then an answer is read without walking paths."""
        return self == RFC

    @cached_property
    def steps(self) -> dict[str, tuple[Steps, ...]]:
        """Every path cut at its dots, by field."""
        return {field: tuple(map(steps_of, getattr(self, field))) for field in type(self).model_fields}

    def found(self, field: str, members: Any) -> Iterator[Any]:
        """What an answer holds at the paths of a field: what is there and not empty, in their order."""
        for steps in self.steps[field]:
            value = at(members, steps)
            if value not in (None, ""):
                yield value


RFC = TokenPaths()  # RFC 6749 §5.1, and the names that several providers have for what it does not know


def steps_of(path: str) -> Steps:
    """Cut a path at its dots; an empty one is the whole answer."""
    return tuple(path.split(".")) if path else ()


def at(members: Any, steps: Sequence[str]) -> Any:
    """What stands at a path of an answer: a member of an object, or a number for a place in a list; None: nothing."""
    for step in steps:
        if isinstance(members, dict):
            members = members.get(step)
        elif isinstance(members, list) and step.isdecimal() and int(step) < len(members):
            members = members[int(step)]
        else:
            return None
    return members


class SecondTokenSet(BaseModel):
    """A second token set in the answer to a code: a grant of its own, `REF/suffix` (Slack's user beside its bot)."""

    model_config: ClassVar[ConfigDict] = TokenPaths.model_config

    suffix: Label
    """What is added to the ref, behind a slash."""
    within: PathInAnswer
    """The member that holds it, e.g. `authed_user`; its own members are named as in `token_set`."""

    def ref(self, ref: str) -> str:
        """The ref of the second grant of a consent."""
        return f"{ref}/{self.suffix}"
