"""Rules: what a provider's own words mean, as its file says; the first that fits speaks.

Below all of them stands the table of RFC 6749 (tasks/policy/outcome.py). A rule can only make a refusal more exact: an
answer that may hold a token set is read before any rule is asked.
"""

import re
from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from tasks.oauth.fields import Path

CLASS = re.compile(r"[1-5]xx")
GATEWAYS_TOO = 408  # a 4xx that a machine in between may say
REFUSALS = range(400, 500)


class Asked(StrEnum):
    """What the answer is to."""

    REFRESH = "refresh"
    CODE = "code"  # the exchange of a code
    REVOKE = "revoke"
    API = "api"  # a look at the API, or a first use there
    INTROSPECT = "introspect"


class Means(StrEnum):
    """What an answer means."""

    DEAD = "dead"  # the token is dead; by suspicion, confirmation, witness and guard as `invalid_grant`
    CONSENT = "consent"  # the grant lives or could, but a human must act: likewise, and then it needs consent
    OURS = "ours"  # our client, its credentials or our request: no grant is blamed
    THROTTLED = "throttled"  # too much was asked: the grant or the client waits
    ILL = "ill"  # the provider is: we cannot know whether it acted
    RACE = "race"  # somebody else is at it, and nothing was consumed: again soon
    SCOPE = "scope"  # the scope is refused, the token is not


class Reason(StrEnum):
    """Why a grant needs its user, or an administrator, as the provider tells it."""

    REVOKED = "revoked"  # the user or an administrator took it back
    EXPIRED = "expired"  # its time was over, or it was not used for too long
    PASSWORD_CHANGED = "password_changed"  # noqa: S105  # a reason
    ADMIN_POLICY = "admin_policy"  # an administrator's rule forbids it
    APP_REMOVED = "app_removed"  # the app was uninstalled there
    MFA_REQUIRED = "mfa_required"  # the user must prove again who they are
    SIGN_IN_AGAIN = "sign_in_again"  # the session that it hangs on has ended
    USER_GONE = "user_gone"  # the account is disabled or deleted
    SCOPE_CHANGED = "scope_changed"  # what is asked for was never granted, or is not any more


class LimitOf(StrEnum):
    """Whose requests a limit counts."""

    CLIENT = "client"
    GRANT = "grant"
    USER = "user"  # of all grants of one user: as we know no users, the grant waits


def _statuses(value: object) -> object:
    """Read one status or a list of them."""
    return value if isinstance(value, list | tuple) else (value,)


def _status(value: int | str) -> int | str:
    fits = 100 <= value <= 599 if isinstance(value, int) else CLASS.fullmatch(value)  # noqa: PLR2004
    if not fits:
        message = f'{value!r} is no status: write a number like 403, or a class like "4xx"'
        raise ValueError(message)
    return value


Status = Annotated[int | str, AfterValidator(_status)]


class Rule(BaseModel):
    """One `[[answers]]` of a provider file."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True
    )

    to: Asked = Asked.REFRESH
    """What was asked: `refresh`, `code`, `revoke`, `api` or `introspect`."""
    status: Annotated[tuple[Status, ...], BeforeValidator(_statuses)] = ()
    """The HTTP statuses that it is for, `[400, 403]` or `"4xx"`; absent: any."""
    where: dict[Path, str] = Field(default_factory=dict)
    """Dotted paths into the answer's JSON or form, and what stands there: `*` stands for any text, as in file names."""
    means: Means
    """What it means: `dead`, `consent`, `ours`, `throttled`, `ill`, `race` or `scope`."""
    reason: Reason | None = None
    """Why, for people: of `dead` and `consent` alone."""
    scope_of_limit: LimitOf = LimitOf.CLIENT
    """Whose limit it is, of `throttled`: the `client`'s, the `grant`'s or the `user`'s."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.status and not self.where:
            message = "it would fit every answer: add status or where"
            raise ValueError(message)
        if self.reason is not None and self.means not in (Means.DEAD, Means.CONSENT):
            message = f"reason is told of dead and consent alone, not of {self.means}"
            raise ValueError(message)
        if self.scope_of_limit is not LimitOf.CLIENT and self.means is not Means.THROTTLED:
            message = "scope_of_limit belongs to throttled alone"
            raise ValueError(message)
        if not self.where and not self._may_do_without_where:
            message = (
                "a machine in between may answer with such a status, too: write in where what the body of the "
                "provider's own answer holds, or a single status such as 403"
            )
            raise ValueError(message)
        return self

    @property
    def _may_do_without_where(self) -> bool:
        """Whether its statuses alone tell enough: that of a page, or of a gateway, is no word of the provider."""
        if self.means is Means.ILL or (self.means is Means.THROTTLED and self.scope_of_limit is LimitOf.CLIENT):
            return True
        return all(each in REFUSALS and each != GATEWAYS_TOO for each in self.status)

    def fits_status(self, status: int) -> bool:
        """Whether it is for answers of this status."""
        return not self.status or any(
            status == each if isinstance(each, int) else status // 100 == int(each[0]) for each in self.status
        )
