"""A fault: what goes wrong, at which requests, before or after the provider acted, and how often; how it is read."""

import json
from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator


class Act(StrEnum):
    """What the client sees instead of the answer."""

    STATUS = "status"  # `status` with `body` and `headers`
    DELAY = "delay"  # the right answer, `delay_seconds` late (every other act may be late as well)
    HANG = "hang"  # nothing, with the connection open, until the client gives up or `hang_seconds` are over
    DROP = "drop"  # the connection is closed without an answer
    RESET = "reset"  # the connection is reset (RST)
    TRUNCATE = "truncate"  # the answer stops after `at` bytes of its body (or of all of it), then the connection closes
    DRIP = "drip"  # the whole answer, one byte every `interval_seconds`
    HTML = "html"  # an HTML page with `status` (502 unless told)
    HUGE = "huge"  # valid JSON of `size` bytes
    PATCH = "patch"  # the answer with members set (`patch`) and removed (`remove`)
    REDIRECT = "redirect"  # 307 (or `status`) to `location`


_NEED_AN_ANSWER = frozenset({Act.TRUNCATE, Act.DRIP, Act.PATCH})
_LET_TOKENS_THROUGH = frozenset({Act.DELAY, Act.DRIP})


class Fault(BaseModel):
    """One fault; the filters left empty match everything."""

    model_config = ConfigDict(extra="forbid")

    act: Act
    number: int = 0
    where: Literal["token", "revoke", "api", "authorize", "all"] = "all"
    when: Literal["before", "after", ""] = Field("", description="default: before, where that makes sense")
    grant_type: str = ""
    client_id: str = ""
    ref: str = Field("", description="only requests that carry a token of this ref")
    count: int | None = Field(None, ge=1, description="how often; None: until cleared")
    probability: float = Field(1.0, ge=0, le=1)
    fired: int = 0
    delay_seconds: float = Field(0.0, ge=0)
    hang_seconds: float = Field(600.0, gt=0)
    status: int | None = Field(None, ge=200, le=599)
    body: str = ""
    headers: dict[str, str] = {}
    at: int = Field(20, ge=0)
    part: Literal["body", "answer"] = "body"
    interval_seconds: float = Field(0.05, ge=0)
    size: int = Field(10_000_000, ge=1)
    patch: dict[str, Any] = {}
    remove: list[str] = []
    location: str = "/elsewhere"

    @model_validator(mode="after")
    def _choose_when(self) -> Self:
        if self.act in _NEED_AN_ANSWER and self.when == "before":
            message = f"{self.act} changes the provider's answer, so it can only be `after`"
            raise ValueError(message)
        if not self.when:
            self.when = "after" if self.act in _NEED_AN_ANSWER else "before"
        return self

    @property
    def over(self) -> bool:
        """Say whether it has fired as often as it may."""
        return self.count is not None and self.fired >= self.count

    @property
    def loses_tokens(self) -> bool:
        """Say whether the client cannot have got the refresh token of the answer."""
        if self.act is Act.PATCH:
            return "refresh_token" in self.patch or "refresh_token" in self.remove
        return self.act not in _LET_TOKENS_THROUGH

    @property
    def label(self) -> str:
        """Name the fault in the ledger."""
        return f"fault {self.number} ({self.act}, {self.when} processing)"

    def matches(self, endpoint: str, grant_type: str, client_id: str, ref: str) -> bool:
        """Say whether a request is one of those that the fault is for; `token_info` counts as `api`."""
        place = "api" if endpoint == "token_info" else endpoint
        wanted = ((self.grant_type, grant_type), (self.client_id, client_id), (self.ref, ref))
        return self.where in ("all", place) and all(not want or want == seen for want, seen in wanted)


def read_fault(text: str) -> Fault:
    """Read a fault as JSON or in the short form `status,where=token,when=after,status=504,count=3`.

    In the short form `headers.Retry-After=5` and `patch.scope=crm_read` set members of members.

    Raises:
        ValueError: the text is neither, or a member is unknown or has a wrong value.
    """
    try:
        members = json.loads(text) if text.lstrip().startswith("{") else _read_short(text)
        return Fault.model_validate(members)
    except ValidationError as error:
        first = error.errors()[0]
        message = f"fault {text!r}: {'.'.join(map(str, first['loc'])) or 'as a whole'}: {first['msg']}"
        raise ValueError(message) from None


def _read_short(text: str) -> dict[str, Any]:
    act, *members = text.split(",")
    read: dict[str, Any] = {"act": act.strip()}
    for name, _, value in (member.partition("=") for member in members):
        group, _, inner = name.strip().partition(".")
        if inner:
            read.setdefault(group, {})[inner] = value
        else:
            read[group] = value
    return read
