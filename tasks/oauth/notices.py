"""Notices: what a provider tells us by itself, e.g. that an app was uninstalled, and how it proves that it is one."""

from enum import StrEnum
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tasks.oauth.fields import HeaderName, Label
from tasks.oauth.fields import Path as PathInAnswer
from tasks.oauth.shapes import Method


class NoticeAuth(StrEnum):
    """How a notice of the provider proves that it is one."""

    BASIC = "basic"  # the client's id and secret (Pipedrive)
    HMAC_SHA256 = "hmac_sha256"  # of the body under the client's secret, in `signature_header`, hex or base64
    SECRET_HEADER = "secret_header"  # noqa: S105  # the client's secret in `signature_header`


class Notice(BaseModel):
    """One `[[notices]]`: what the provider tells us by itself, e.g. that an app was uninstalled. It never kills."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True
    )

    method: Method = Method.POST
    """How it arrives."""
    auth: NoticeAuth
    """How it proves where it comes from: `basic`, `hmac_sha256` or `secret_header`."""
    signature_header: HeaderName | None = None
    """The header that holds the proof; not of `basic`."""
    where: dict[PathInAnswer, str] = Field(default_factory=dict)
    """Which ones count: dotted paths and what stands there, as in an answer's rule; absent: all."""
    matches: dict[Label, PathInAnswer]
    """Whose it is: labels of the grants, and the paths to their values in the notice; `ref` names the ref itself."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.auth is NoticeAuth.BASIC) is (self.signature_header is not None):
            message = "signature_header is needed by hmac_sha256 and secret_header, and by them alone"
            raise ValueError(message)
        if self.method not in (Method.POST, Method.DELETE):
            message = 'method must be "POST" or "DELETE"'
            raise ValueError(message)
        if not self.matches:
            message = "matches must say whose a notice is: a label and the path to its value"
            raise ValueError(message)
        return self
