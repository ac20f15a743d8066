"""Authentication: which client sent a call, and the refusal of servers that ask this first."""

from collections.abc import Mapping

from simulator.answers import Answer, error, invalid_client
from simulator.call import Call
from simulator.client import Client
from simulator.habits import Habits


def authenticate(clients: Mapping[str, Client], call: Call) -> Client | None:
    """Find the client whose credentials a call carries."""
    if call.credentials is None:
        return None
    client_id, secret = call.credentials
    client = clients.get(client_id)
    return client if client is not None and client.secret == secret else None


def refuse_client(clients: Mapping[str, Client], call: Call, habits: Habits) -> Answer | None:
    """Refuse a client at a server that authenticates it before anything else; None: it may go on."""
    if call.credentials is None:
        return error("invalid_request", "no client authentication mechanism provided")
    return None if authenticate(clients, call) else invalid_client(habits.says_wrong_client)
