"""`SimulatorControl`: the control endpoint from Python, for tests and the demo. Synchronous, standard library only."""

import json
from collections.abc import Iterable, Mapping
from http.client import HTTPConnection
from typing import Any
from urllib.parse import quote, urlencode, urlsplit


class ControlError(Exception):
    """The simulator refused a control call; the message is its own."""


class SimulatorControl:
    """What a test may do to a running simulator. `url` is its base, as printed when it starts."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._netloc = urlsplit(self.url).netloc

    def create_client(self, client_id: str, client_secret: str, **more: Any) -> None:
        """Register a client; also redirect_uri (several: one a line), scopes, name."""
        self._call("POST", "clients", {"client_id": client_id, "client_secret": client_secret, **more})

    def set_secret(self, client_id: str, client_secret: str) -> None:
        """Change a client's secret at the provider."""
        self._call("PUT", f"clients/{quote(client_id, safe='')}/secret", {"client_secret": client_secret})

    def mint(self, client_id: str, count: int = 1, **more: Any) -> list[dict[str, Any]]:
        """Mint grants; also ref_prefix, refs, scope, lifetime (seconds), orgs. Returns rows."""
        text = self._send("POST", "grants", {"client_id": client_id, "count": count, **more})
        return [json.loads(line) for line in text.splitlines()]

    def revoke_as_user(self, *refs: str, client_id: str = "") -> int:
        """End grants as their users would; returns how many were."""
        ended: int = self._call("POST", "grants/revoke", {"refs": refs, "client_id": client_id})["ended"]
        return ended

    def configure(self, **settings: Any) -> dict[str, Any]:
        """Change lifetime (seconds; lifetime_of_all), rate, profile, habits={…}; without any, only read them."""
        facts: dict[str, Any] = self._call("PATCH", "settings", settings) if settings else self._call("GET", "settings")
        return facts

    def decide_automatically(self, decision: str = "allow", *, user: str = "user-1") -> None:
        """Let the authorize page answer by itself: allow, deny, or empty for a real user."""
        self._call("PATCH", "authorize", {"decision": decision, "user": user})

    def add_fault(self, act: str, **members: Any) -> int:
        """Set a fault (simulator/fault.py names acts and members); returns its number."""
        number: int = self._call("POST", "faults", {"act": act, **members})["number"]
        return number

    def faults(self) -> list[dict[str, Any]]:
        """List the faults with how often each has fired."""
        listed: list[dict[str, Any]] = self._call("GET", "faults")
        return listed

    def clear_faults(self, number: int | None = None) -> None:
        """Clear one fault, or all."""
        self._call("DELETE", "faults" if number is None else f"faults/{number}")

    def summary(self, client_id: str = "") -> dict[str, Any]:
        """Read what really happened, of one client or of all."""
        facts: dict[str, Any] = self._call("GET", f"ledger?{urlencode({'client_id': client_id})}")
        return facts

    def lost(self) -> list[dict[str, Any]]:
        """List every lost grant with the request that lost it and why."""
        rows: list[dict[str, Any]] = self._call("GET", "ledger/lost")
        return rows

    def grants(self, ref: str) -> list[dict[str, Any]]:
        """Read the grants of a ref (a second consent is a second one) with their chains of pairs."""
        rows: list[dict[str, Any]] = self._call("GET", f"ledger/grants/{quote(ref, safe='')}", absent=[])
        return rows

    def requests(self, *, after: int = 0, limit: int = 1000, **filters: Any) -> list[dict[str, Any]]:
        """List requests in order; filters: endpoint, client_id, ref, outcome and the like."""
        query = urlencode({"after": after, "limit": limit, **filters})
        rows: list[dict[str, Any]] = self._call("GET", f"ledger/requests?{query}")
        return rows

    def judge(self, tokens: Mapping[str, str]) -> dict[str, dict[str, Any]]:
        """Say of the token held for each ref what is alive: `alive` (access), `refresh_alive`, `newest`."""
        verdicts: dict[str, dict[str, Any]] = self._call("POST", "judge", dict(tokens))
        return verdicts

    def dead_refs(self, tokens: Mapping[str, str]) -> list[str]:
        """List the refs whose access token does not open the API now."""
        return [ref for ref, verdict in self.judge(tokens).items() if not verdict["alive"]]

    def _call(self, method: str, path: str, body: Any = None, *, absent: Any = None) -> Any:
        return json.loads(self._send(method, path, body, absent=absent))

    def _send(self, method: str, path: str, body: Any = None, *, absent: Any = None) -> str:
        connection = HTTPConnection(self._netloc, timeout=30)
        try:
            connection.request(method, f"/_control/{path}", None if body is None else json.dumps(body))
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status == 404 and absent is not None:  # noqa: PLR2004
            return json.dumps(absent)
        if answer.status >= 400:  # noqa: PLR2004
            message = f"{method} {path}: {answer.status} {text}"
            raise ControlError(message)
        return text


def as_json_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """Write minted rows as the file that `evergrant grants import` reads."""
    return "".join(json.dumps(row) + "\n" for row in rows)
