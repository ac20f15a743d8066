"""Token paths: where a token answer says what, for providers that do not say it where RFC 6749 §5.1 does."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from tasks.oauth.fields import Label
from tasks.oauth.fields import Path as PathInAnswer


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
    refresh_expires_at: tuple[PathInAnswer, ...] = ("refresh_token_expires_at",)
    """Its end, where there is none of these."""
    consent_expires_in: tuple[PathInAnswer, ...] = ("x_refresh_token_hard_expires_in",)
    """Seconds until the user must consent again, however often it is refreshed."""


class SecondTokenSet(BaseModel):
    """A second token set in the answer to a code: a grant of its own, `REF/suffix` (Slack's user beside its bot)."""

    model_config: ClassVar[ConfigDict] = TokenPaths.model_config

    suffix: Label
    """What is added to the ref, behind a slash."""
    within: PathInAnswer
    """The member that holds it, e.g. `authed_user`; its own members are named as in `token_set`."""
