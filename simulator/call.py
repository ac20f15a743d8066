"""A call: one request to an endpoint as it was read, whatever carried it."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(slots=True)
class Call:
    """One request as the provider understands it: parameters of body and query, and the two headers that matter."""

    endpoint: str  # token, revoke, token_info, api
    params: Mapping[str, str]
    basic: tuple[str, str] | None = None
    bearer: str = ""
    org: str = ""

    @property
    def credentials(self) -> tuple[str, str] | None:
        """client_id and secret from the header, else from the parameters; None where there is no client_id."""
        if self.basic is not None:
            return self.basic
        client_id = self.params.get("client_id", "")
        return (client_id, self.params.get("client_secret", "")) if client_id else None
