"""What the service manager that started us is told: ready, alive, leaving. Where nobody asks, nothing is told.

systemd's `sd_notify`: a datagram to the socket named in the environment. The protocol is promised to stay as it is.
"""

import asyncio
import os
import socket
from contextlib import suppress

READY = "READY=1"
ALIVE = "WATCHDOG=1"
READY_AND_ALIVE = f"{READY}\n{ALIVE}"
LEAVING = "STOPPING=1"


def tell(state: str) -> None:
    """Tell one thing. A manager that does not take it loses nothing but the news, and work goes on."""
    if not (address := os.environ.get("NOTIFY_SOCKET")):
        return
    # An abstract socket is written with an @ where the kernel wants a zero byte.
    place = f"\0{address[1:]}" if address.startswith("@") else address
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as teller:
        teller.setblocking(False)
        teller.sendto(state.encode(), place)


def pulse_seconds() -> float | None:
    """Between two pulses: a third of what the manager waits for one; None: it waits for none of this process."""
    patience, whose = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", str(os.getpid()))
    if not patience.isdecimal() or whose != str(os.getpid()):
        return None
    return int(patience) / 3_000_000


async def keep_telling() -> None:
    """Tell again and again that this loop turns: whoever runs it is alive as long as it is heard."""
    if (seconds := pulse_seconds()) is None:
        return
    while True:
        tell(ALIVE)
        await asyncio.sleep(seconds)
