"""A provider: an authorization server and its habits, read from a TOML file and validated.

Every habit is a field with a default, so no provider is special in code. The folder of the user's own files wins
over the bundled one. docs/reference/provider-file.md lists every field.
"""

import re
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

from pydantic import ValidationError, model_validator

from tasks.oauth.contradictions import CHECKS
from tasks.oauth.errors import ProviderFileError, UnknownProvider
from tasks.oauth.fields import ACCESS_TOKEN, labels_of
from tasks.oauth.provider_fields import ProviderFields
from tasks.oauth.rotation import Rotation
from tasks.oauth.rules import Rule
from tasks.oauth.shapes import Kind, Presented, Reach

BUNDLED = Path(__file__).parent / "providers"
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
CLIENT_ID = "client_id"  # what a revocation may leave open beside labels; and TOKEN in its address
TOKEN = "token"  # noqa: S105  # a name
# What goes without saying where there is no refresh token: nothing rotates, and none can be revoked or looked at.
WITHOUT_REFRESH_TOKEN: Final = {"rotation": Rotation.NONE, "revoke_token": Presented.ACCESS, "probe": False}
IMPLIED: Final[dict[str, dict[str, Any]]] = {
    Kind.CODE: {"rotation": Rotation.FAMILY, "revoke_token": Presented.REFRESH},
    Kind.CLIENT_CREDENTIALS: WITHOUT_REFRESH_TOKEN | {"scope_separator": " "},  # RFC 6749 §3.3
    Kind.EXCHANGE: WITHOUT_REFRESH_TOKEN,
}


class Provider(ProviderFields):
    """One authorization server's habits, with the overrides of one client where there are any."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        problem = next((told for check in CHECKS if (told := check(self)) is not None), None)
        if problem is not None:
            raise ValueError(problem)
        return self

    def presenting(self, access_token: str) -> dict[str, str]:
        """The header that presents an access token."""
        name, _, value = self.api_header.partition(": ")
        return {name: value.replace(ACCESS_TOKEN, access_token)}

    @property
    def labels_revoked_by(self) -> set[str]:
        """The labels that say whose grant ends: all grants of that value end with it."""
        named = {label for value in self.revoke_parameters.values() for label in labels_of(value)}
        return named - {CLIENT_ID} if self.revocation is Reach.GRANT else set()

    @property
    def may_rest(self) -> bool:
        """Whether a grant may outlive its access token, so that one kept on demand need not be renewed for that."""
        return self.kind is not Kind.EXCHANGE

    @property
    def grant_interval(self) -> timedelta:
        """The least time between two renewals of one grant; nothing where its provider sets no limit."""
        return timedelta(minutes=1) / self.rate_per_grant if self.rate_per_grant else timedelta(0)

    @property
    def grace(self) -> timedelta | None:
        """How long the old refresh token lives on; None where it does not, or for as long as it likes."""
        if self.rotation is not Rotation.GRACE or self.grace_seconds is None:
            return None
        return timedelta(seconds=self.grace_seconds)

    @property
    def until_next(self) -> timedelta | None:
        """How long it lives at most at `until_next_refresh`; None: until the new one is used."""
        if self.rotation is not Rotation.UNTIL_NEXT_REFRESH or self.until_next_days is None:
            return None
        return timedelta(days=self.until_next_days)

    @property
    def allowed_burst(self) -> int:
        """Requests of one client that may be under way at once: what an hour of lost answers may cost."""
        if self.burst is not None:
            return self.burst
        lost_for_good = self.rotation in (Rotation.GRACE, Rotation.IMMEDIATE, Rotation.FAMILY)
        return 2000 if self.rate is None and not lost_for_good else 20

    def with_overrides(self, **overrides: Any) -> Self:
        """Return a checked copy in which a client's own values replace those of the file.

        Raises:
            ProviderFileError: a value cannot be used, or there is no such field.

        """
        kind = overrides.get("kind", self.kind)
        implied = {} if kind == self.kind else IMPLIED.get(kind, {})
        given = self.model_dump() | implied | self._not_asked_elsewhere(overrides) | overrides | {"name": self.name}
        return self.__class__.checked(f"overrides of provider {self.name!r}", given)

    def _not_asked_elsewhere(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """A client whose tokens another server gives, a simulator say, does not show them to the file's API."""
        token_url = overrides.get("token_url")
        if not isinstance(token_url, str) or urlsplit(token_url).netloc == urlsplit(self.token_url or "").netloc:
            return {}
        return {"labels_url": None, "labels_at": {}}

    @classmethod
    def checked(cls, where: str, values: dict[str, Any]) -> Self:
        """Make a provider of `values`, or say all that is wrong with them.

        Raises:
            ProviderFileError: a value cannot be used, or there is no such field.

        """
        kind = values.get("kind")
        implied = IMPLIED.get(kind, {}) if isinstance(kind, str) else {}
        try:
            return cls.model_validate(implied | values)
        except ValidationError as error:
            reasons = [_reason(each) for each in error.errors()]
        # Raised out here, so that it does not hold pydantic's error as its context: that one keeps the frames below us
        # where the garbage collector does not see them, and a process that reads a bad file each minute would grow.
        raise ProviderFileError(where, reasons)


def _reason(error: Any) -> str:
    """A problem in a sentence that names its field; of a list the first place is 1, as rules are numbered."""
    field = ".".join(str(part + 1) if isinstance(part, int) else part for part in error["loc"])
    text = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        text = _no_such_field(error["loc"])
    elif error["type"] == "missing":
        text = "is needed: write it"
    return f"{field}: {text}" if field else text


def _no_such_field(place: tuple[str | int, ...]) -> str:
    known = Rule.model_fields if place[0] == "answers" else Provider.model_fields
    meant = get_close_matches(str(place[-1]), known, 1) if len(place) == 1 or place[0] == "answers" else []
    return f"there is no such field: {f'write {meant[0]}' if meant else 'leave it out'}"


def names(*, folder: Path) -> list[str]:
    """Name every provider that `load` can read, the user's own and the bundled ones, sorted."""
    found = {path.stem for place in (folder, BUNDLED) for path in place.glob("*.toml")}
    return sorted(name for name in found if NAME.fullmatch(name))


def load(name: str, *, folder: Path) -> Provider:
    """Read the provider file `name`, from the user's own `folder` first, then from the bundled ones.

    Raises:
        UnknownProvider: no file has that name.
        ProviderFileError: the file cannot be read or used.

    """
    return read(find(name, folder=folder))


def find(name: str, *, folder: Path) -> Path:
    """The provider file `name`; raises UnknownProvider as `load`."""
    for place in (folder, BUNDLED) if NAME.fullmatch(name) else ():
        if (path := place / f"{name}.toml").is_file():
            return path
    raise UnknownProvider(name, names(folder=folder))


def read(path: Path) -> Provider:
    """Read one provider file, wherever it lies.

    Raises:
        ProviderFileError: the file cannot be read or used.

    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProviderFileError(str(path), [f"cannot be read: {error.strerror}"]) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ProviderFileError(str(path), [str(error)]) from None
    except RecursionError:
        raise ProviderFileError(str(path), ["it is nested too deeply: no field needs more than two levels"]) from None
    except ValueError:  # Python reads no integer of more than 4300 digits
        raise ProviderFileError(str(path), ["it holds a number of thousands of digits: write a shorter one"]) from None
    if "name" in values:
        raise ProviderFileError(str(path), ["name: the file's own name is the provider's name"])
    if path.suffix != ".toml" or not NAME.fullmatch(path.stem):
        told = "its name is the provider's: call it like acme.toml, in small letters, digits, - and _"
        raise ProviderFileError(str(path), [told])
    return Provider.checked(str(path), values | {"name": path.stem})
