"""Labels say which organizations a grant serves, and become headers."""

from collections.abc import Mapping, Sequence

from evergrant_client.errors import LabelNotChosen

# Over SQL nobody tells what the provider file maps; over HTTP the answer has the headers ready.
HEADERS = {"org": "X-API-ORG"}


def headers_of(
    ref: str, labels: Mapping[str, Sequence[str]], chosen: Mapping[str, str]
) -> tuple[dict[str, str], LabelNotChosen | None]:
    """Make the headers; with one value a header is set by itself, with several and none chosen it is undecided.

    A value that is chosen must be one that the grant has, unless it has none at all.
    """
    made: dict[str, str] = {}
    for label, header in HEADERS.items():
        values, wanted = labels.get(label, ()), chosen.get(label)
        meant = [value for value in values if wanted in (None, value)] if values else [wanted]
        if len(meant) != 1:
            return made, LabelNotChosen(ref, label, values)
        if meant[0] is not None:
            made[header] = meant[0]
    return made, None
