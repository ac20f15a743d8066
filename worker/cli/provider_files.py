"""Provider files that cannot be used where somebody looks: a worker that starts, or reads them anew, sends nothing."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

    from settings import Settings


def unusable(clients: "Sequence[RowMapping]", settings: "Settings") -> list[dict[str, Any]]:
    """The files that cannot be used, each with its fault and the clients that go by it."""
    from tasks.oauth import provider as files
    from tasks.oauth.errors import OAuthError

    found = []
    for name in sorted({each["provider"] for each in clients}):
        try:
            files.load(name, folder=settings.provider_folder)
        except OAuthError as error:
            of_it = [each["name"] for each in clients if each["provider"] == name]
            found.append({"provider": name, "fault": str(error).rstrip("."), "clients": of_it})
    return found


def attention(found: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """What is told of them. Workers may have another file than whoever looks: it is a human's where tokens lapse."""
    lapsed = {each["name"] for each in found["clients"] if each["lapsed"]}
    return [
        (
            f"the provider file of {', '.join(each['clients'])} cannot be used here: {each['fault']}",
            "mend it, on every machine with a worker: evergrant providers list",
            not lapsed.isdisjoint(each["clients"]),
        )
        for each in found["provider_files"]
    ]
