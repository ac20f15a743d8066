"""A client: what an application registered at the provider."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Client:
    """A registration; `redirect_uris` are compared exactly."""

    client_id: str
    secret: str = field(repr=False)
    redirect_uris: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ("crm_read", "crm_manage")
    name: str = ""


class UnknownClientError(ValueError):
    """No client with this client_id is registered at the simulator."""

    def __init__(self, client_id: str) -> None:
        super().__init__(f"no client {client_id!r} is registered; POST it to /_control/clients")
