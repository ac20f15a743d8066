"""Listeners of web: where each one may listen, and how it is opened. No two share a port."""

import asyncio
import errno
import os
import socket
import ssl
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from settings import Settings, SettingsError, bind_address, open_to_others

BACKLOG = 1024
SOCKET_MODE = 0o660  # whoever may connect must hold a key as well
CONNECT_SECONDS = 1.0

Address = Path | tuple[str, int]


class PlaceTaken(SettingsError):
    """Somebody listens there already."""

    def __init__(self, address: Address, variable: str) -> None:
        where = str(address) if isinstance(address, Path) else f"{address[0]}:{address[1]}"
        super().__init__(f"{variable}: another process listens on {where} already")
        self.next = f"end that one, or set {variable} to another place"


def token_listener(settings: Settings) -> tuple[Address, ssl.SSLContext | None] | None:
    """Where the token interface listens, and with which certificate; None: nowhere.

    Raises:
        SettingsError: it would hand out tokens in clear beyond this machine, or the certificate cannot be used.

    """
    if settings.token_bind is None:
        return None
    address = bind_address(settings.token_bind)
    certificate, key = settings.token_tls_certificate, settings.token_tls_key
    if certificate is not None and key is not None:
        return address, _tls(certificate, key, of="TOKEN")
    if certificate is not None or key is not None:
        message = "EVERGRANT_TOKEN_TLS_CERTIFICATE and EVERGRANT_TOKEN_TLS_KEY: set both or neither"
        raise SettingsError(message)
    if not is_local(address):
        message = (
            f"EVERGRANT_TOKEN_BIND: beyond loopback ({settings.token_bind}) tokens are handed out over TLS only, "
            "so set EVERGRANT_TOKEN_TLS_CERTIFICATE and EVERGRANT_TOKEN_TLS_KEY"
        )
        raise SettingsError(message)
    return address, None


def public_listener(settings: Settings) -> tuple[Address, ssl.SSLContext | None] | None:
    """Where customers come, and with which certificate; None: nowhere.

    Raises:
        SettingsError: nobody said by which address they come, it would be in clear beyond this machine, or the
            certificate cannot be used.

    """
    if settings.public_bind is None:
        return None
    if settings.public_url is None:
        message = "EVERGRANT_PUBLIC_BIND: set EVERGRANT_PUBLIC_URL as well, the address by which customers come"
        raise SettingsError(message)
    address = bind_address(settings.public_bind)
    certificate, key = settings.public_tls_certificate, settings.public_tls_key
    if certificate is not None and key is not None:
        if settings.public_behind_proxy:
            message = (
                "EVERGRANT_PUBLIC_BEHIND_PROXY and EVERGRANT_PUBLIC_TLS_CERTIFICATE are both set: TLS ends at the "
                "proxy, or here; keep one of them"
            )
            raise SettingsError(message)
        return address, _tls(certificate, key, of="PUBLIC")
    if certificate is not None or key is not None:
        message = "EVERGRANT_PUBLIC_TLS_CERTIFICATE and EVERGRANT_PUBLIC_TLS_KEY: set both or neither"
        raise SettingsError(message)
    if settings.public_url.startswith("https:") and not settings.public_behind_proxy:
        message = (
            "EVERGRANT_PUBLIC_URL: https needs EVERGRANT_PUBLIC_TLS_CERTIFICATE and EVERGRANT_PUBLIC_TLS_KEY, or "
            "EVERGRANT_PUBLIC_BEHIND_PROXY=true where a proxy ends TLS"
        )
        raise SettingsError(message)
    if not is_local(address) and not settings.public_behind_proxy:
        message = (
            f"EVERGRANT_PUBLIC_BIND: beyond loopback ({settings.public_bind}) it needs a certificate, or "
            "EVERGRANT_PUBLIC_BEHIND_PROXY=true"
        )
        raise SettingsError(message)
    return address, None


def ops_listener(settings: Settings) -> tuple[Address, str | None]:
    """Where the operators' listener is, and its password.

    Raises:
        SettingsError: it needs a password, or the file holds none.

    """
    address = bind_address(settings.ops_bind)
    if settings.ops_password_file is None:
        if not is_local(address):
            message = f"EVERGRANT_OPS_BIND: beyond loopback ({settings.ops_bind}) it needs EVERGRANT_OPS_PASSWORD_FILE"
            raise SettingsError(message)
        return address, None
    _refuse_open("EVERGRANT_OPS_PASSWORD_FILE", settings.ops_password_file)
    try:
        password = settings.ops_password_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        message = f"EVERGRANT_OPS_PASSWORD_FILE: cannot read {settings.ops_password_file} ({type(error).__name__})"
        raise SettingsError(message) from None
    if not password:
        message = f"EVERGRANT_OPS_PASSWORD_FILE: {settings.ops_password_file} is empty"
        raise SettingsError(message)
    return address, password


def is_local(address: Address) -> bool:
    """Whether only this machine can connect: a unix socket or a loopback address."""
    if isinstance(address, Path):
        return True
    try:
        return address[0] == "localhost" or ip_address(address[0]).is_loopback
    except ValueError:
        return False


def _refuse_open(variable: str, path: Path) -> None:
    try:
        fault = open_to_others(path, holds_secret=True)
    except OSError:
        return  # whoever reads it tells
    if fault is not None:
        message = f"{variable}: {fault}"
        raise SettingsError(message)


def _tls(certificate: Path, key: Path, *, of: str) -> ssl.SSLContext:
    _refuse_open(f"EVERGRANT_{of}_TLS_KEY", key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:
        message = (
            f"EVERGRANT_{of}_TLS_CERTIFICATE and EVERGRANT_{of}_TLS_KEY: {certificate} and {key} cannot be used "
            f"({error.strerror or type(error).__name__})"
        )
        raise SettingsError(message) from None
    return context


async def listening_sockets(address: Address, *, variable: str) -> list[socket.socket]:
    """Open a listener, on each address that a host's name has.

    Raises:
        PlaceTaken: somebody listens there already.
        SettingsError: it cannot be opened.

    """
    opened: list[socket.socket] = []
    try:
        for family, place in await _places(address):
            opened.append(socket.socket(family, socket.SOCK_STREAM))
            _bind(opened[-1], place)
    except OSError as error:
        for each in opened:
            each.close()
        if error.errno == errno.EADDRINUSE:
            raise PlaceTaken(address, variable) from None
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        message = f"{variable}: cannot listen there: {reason}"
        raise SettingsError(message) from None
    return opened


def refuse_taken(address: Address, *, variable: str) -> None:
    """See that web can listen there, and leave nothing open.

    Raises:
        PlaceTaken: somebody listens there already.
        SettingsError: it cannot be opened.

    """
    for each in asyncio.run(listening_sockets(address, variable=variable)):
        each.close()
    if isinstance(address, Path):
        address.unlink(missing_ok=True)


def url_of(listening: socket.socket, tls: ssl.SSLContext | None) -> str:
    """Where it listens, as people write it."""
    if listening.family == socket.AF_UNIX:
        return f"unix:{listening.getsockname()}"
    host, port = listening.getsockname()[:2]
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


async def _places(address: Address) -> list[tuple[int, Any]]:
    if isinstance(address, Path):
        _refuse_taken(address)
        if address.is_socket():  # of a process that has died
            address.unlink()
        return [(socket.AF_UNIX, str(address))]
    found = await asyncio.get_running_loop().getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, place) for family, _, _, _, place in found))


def _bind(listening: socket.socket, place: Any) -> None:
    listening.setblocking(False)
    if listening.family == socket.AF_INET6:
        listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if listening.family != socket.AF_UNIX:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(place)
    if listening.family == socket.AF_UNIX:
        Path(place).chmod(SOCKET_MODE)
    listening.listen(BACKLOG)


def _refuse_taken(path: Path) -> None:
    """Refuse a socket that somebody listens on: ours would take its place without a word.

    Raises:
        OSError: it is taken.

    """
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(CONNECT_SECONDS)
        try:
            door.connect(str(path))
        except OSError:  # nobody is there; a dead socket may be removed
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
