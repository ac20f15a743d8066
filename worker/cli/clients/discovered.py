"""What a server says about itself, put beside what a command line says of a client."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from worker.cli.failures import misuse

if TYPE_CHECKING:
    from tasks.oauth.shapes import Auth


def with_document(given: Mapping[str, Any], fitting: "Sequence[Auth]") -> dict[str, Any]:
    """Fill what the command line leaves open from the document of its --issuer; without one, return it as it is.

    `fitting`: the ways to prove who the client is that its secret fits, the best first.

    Raises:
        Failure: the issuer is no https URL.
        DiscoveryError: the document cannot be had, or is another's.

    """
    from tasks.oauth import discovery
    from tasks.oauth.fields import checked_url
    from tasks.oauth.shapes import Auth
    from tasks.oauth.transport import Transport

    issuer = given.get("issuer")
    if issuer is None:
        return dict(given)
    try:
        checked_url(issuer)
    except ValueError as error:
        raise misuse(code="provider", message=f"--issuer {error}", next_step="write the issuer's URL") from None
    with Transport() as transport:
        document = discovery.fetch(transport, issuer)
    auth = Auth(given["auth"]) if given.get("auth") else discovery.chosen(document, fitting)
    said = {name: value for name, value in given.items() if value is not None}
    return {**given, **document.overrides(auth), **said}
