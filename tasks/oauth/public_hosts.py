"""Public hosts: addresses of the open internet alone, so that no label leads a request into our own network.

The connection is made to the very address that was looked at: a name that says something else the next time, which is
how such a fence is climbed, gains nothing.
"""

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

from aiohttp.abc import ResolveResult

from tasks.oauth.host_names import HostNames

# An IPv6 address that only carries an IPv4 one, by a translator on the way (RFC 6052 §2.1).
NAT64: Final = IPv6Network("64:ff9b::/96")


class PrivateHost(OSError):
    """A name has no address but private ones."""


class PublicResolver(HostNames):
    """Finds the public addresses of a name, and no others."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Look a name up.

        Raises:
            PrivateHost: none of its addresses is public.

        """
        found = await super().resolve(host, port, family)
        public = [each for each in found if is_public(each["host"])]
        if found and not public:
            raise PrivateHost
        return public


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet: neither private, loopback, link-local nor reserved."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    carried = _carried(found)
    return found.is_global and not found.is_multicast if carried is None else is_public(str(carried))


def _carried(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    """The IPv4 address inside an IPv6 one, which is where its packets end."""
    if isinstance(address, IPv4Address):
        return None
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
