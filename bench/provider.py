"""A provider as light as can be, in a process of its own: it answers refreshes after a delay and keeps a ledger; it
takes any code for a consent.

    python -m bench.provider --port 0
    python -m bench.provider --port 0 --certificate cert.pem --key key.pem

A refresh token names its grant and its number, `rt-0000042-000007-…`; only the newest of a grant works, once. So the
ledger is one number a grant, and what a contestant has stored can be checked row by row. The bundled simulator tells
far more, and costs ten times as much CPU a request: here it would be what is measured.
"""

import argparse
import asyncio
import json
import ssl
import time
from array import array
from collections.abc import Callable
from typing import Any, cast

LIFE_SECONDS = 7200
REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 503: "Service Unavailable"}


def refresh_token(index: int, number: int, name: str = "A") -> str:
    """The refresh token of a grant of provider `name` after its `number`-th refresh; 43 characters, as many are."""
    return f"rt-{index:07d}-{number:06d}-{name:A>24}"


def access_token(index: int, number: int, name: str = "A") -> str:
    """The access token that came with it."""
    return f"at-{index:07d}-{number:06d}-{name:A>24}"


class Ledger:
    """What was asked and answered since the last reset."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.numbers = array("l")
        self.delay = 0.0
        self.mood = "well"
        self.keeps = True  # a connection after an answer
        self.reset(count=0)

    def reset(self, *, count: int, delay: float = 0.0) -> None:
        """Forget everything, and know `count` grants that were never refreshed."""
        self.numbers = array("l", bytes(8 * count))
        self.delay = delay
        self.mark()

    def mark(self) -> None:
        """Count from now on."""
        self.refreshed = self.refused = self.turned_away = self.in_flight = self.most_in_flight = 0
        self.first_at = self.last_at = 0.0
        self.arrivals = array("d")

    def refresh(self, token: str) -> tuple[int, dict[str, Any]]:
        """Carry out a refresh; status and body."""
        now = time.time()
        self.first_at = self.first_at or now
        self.arrivals.append(now)
        if self.mood == "away":
            self.turned_away += 1
            return 503, {"error": "temporarily_unavailable"}
        index, number = int(token[3:10]), int(token[11:17])
        if self.numbers[index] != number:
            self.refused += 1
            return 400, {"error": "invalid_grant"}
        self.numbers[index] = number = number + 1
        self.refreshed += 1
        return 200, {
            "access_token": access_token(index, number, self.name),
            "token_type": "Bearer",
            "expires_in": LIFE_SECONDS,
            "refresh_token": refresh_token(index, number, self.name),
            "scope": "crm_read",
            "created_at": int(now),
        }

    def connect(self) -> tuple[int, dict[str, Any]]:
        """Take any code for a consent: a grant more, whose number is the first."""
        self.numbers.append(-1)
        return self.refresh(refresh_token(len(self.numbers) - 1, -1, self.name))

    def report(self) -> dict[str, Any]:
        """The counts, and when the first request came and the last answer left (seconds since the epoch)."""
        names = ("refreshed", "refused", "turned_away", "most_in_flight", "first_at", "last_at")
        return {name: getattr(self, name) for name in names}


class Connection(asyncio.Protocol):
    """One connection of a client; requests on it come one after the other."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.buffer = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lines = head.lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        if len(rest) < length:
            return
        self.buffer = rest[length:]
        method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        asked = not any(line.replace(b" ", b"") == b"connection:close" for line in lines)
        keep = asked and self.ledger.keeps
        self._answer(method, path, json.loads(rest[:length]) if length else {}, keep=keep)

    def _answer(self, method: str, path: str, body: dict[str, Any], *, keep: bool) -> None:
        ledger = self.ledger
        if path != "/oauth/token":
            self._send(*_control(ledger, method, path, body), keep=keep)
        elif ledger.mood == "hang":
            ledger.arrivals.append(time.time())
            ledger.turned_away += 1
        else:
            ledger.in_flight += 1
            ledger.most_in_flight = max(ledger.most_in_flight, ledger.in_flight)
            answer = ledger.connect() if "code" in body else ledger.refresh(body["refresh_token"])
            if ledger.delay:
                asyncio.get_running_loop().call_later(ledger.delay, self._send_late, answer, keep)
            else:
                self._send_late(answer, keep)

    def _send_late(self, answer: tuple[int, dict[str, Any]], keep: bool) -> None:
        self.ledger.in_flight -= 1
        self.ledger.last_at = time.time()
        self._send(*answer, keep=keep)

    def _send(self, status: int, body: Any, *, keep: bool) -> None:
        data = json.dumps(body).encode()
        head = f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: application/json\r\nContent-Length: {len(data)}"
        self.transport.write(head.encode() + (b"\r\n\r\n" if keep else b"\r\nConnection: close\r\n\r\n") + data)
        if not keep:
            self.transport.close()


def _control(ledger: Ledger, method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
    """What the benchmark asks or orders."""
    orders: dict[tuple[str, str], Callable[[], Any]] = {
        ("POST", "/_reset"): lambda: ledger.reset(**body),
        ("POST", "/_mark"): ledger.mark,
        ("POST", "/_set"): lambda: vars(ledger).update(body),
        ("GET", "/_report"): ledger.report,
        ("GET", "/_numbers"): lambda: list(ledger.numbers),
        ("GET", "/_arrivals"): lambda: list(ledger.arrivals),
    }
    order = orders.get((method, path))
    return (404, {}) if order is None else (200, order())


async def serve(options: argparse.Namespace) -> None:
    """Serve until a signal ends the process; the first line tells where, and a second one where by TLS."""
    ledger, loop = Ledger(options.name), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(ledger), "127.0.0.1", options.port, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    if options.certificate is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(options.certificate, options.key)
        by_tls = await loop.create_server(lambda: Connection(ledger), "127.0.0.1", 0, backlog=1024, ssl=tls)
        print(f"https://127.0.0.1:{by_tls.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--name", default="A", help="Two providers must not give out the same tokens.")
    parser.add_argument("--certificate", help="Serve by TLS as well, with this.")
    parser.add_argument("--key")
    options = parser.parse_args()
    try:
        from uvloop import run  # of the extra requirements; half the CPU
    except ImportError:
        asyncio.run(serve(options))
    else:
        run(serve(options))


if __name__ == "__main__":
    main()
