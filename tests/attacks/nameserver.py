"""A nameserver on loopback that is silent about every name that begins with `silent`, and finds all others here."""

import socket
import threading
from itertools import takewhile

HERE = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\x7f\x00\x00\x01"  # 127.0.0.1, for five seconds
HEADER = 12
A = 1


def serve() -> None:
    """Answer on port 53, as long as this process lives."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    threading.Thread(target=_answer, args=(server,), name="nameserver", daemon=True).start()


def _answer(server: socket.socket) -> None:
    while True:
        asked, whose = server.recvfrom(1024)
        if asked[HEADER + 1 :].startswith(b"silent"):
            continue
        name = bytes(takewhile(bool, asked[HEADER:]))
        question = asked[HEADER : HEADER + len(name) + 5]
        found = HERE if question[-4:-2] == A.to_bytes(2) else b""
        counts = b"\x00\x01" + (b"\x00\x01" if found else b"\x00\x00") + bytes(4)
        server.sendto(asked[:2] + b"\x81\x80" + counts + question + found, whose)
