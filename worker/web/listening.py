"""Listeners of web: where each one may listen, and how it is opened. No two share a port."""

import errno
import os
import socket
import ssl
from ipaddress import ip_address
from pathlib import Path

from aiohttp import web

from settings import Settings, SettingsError, bind_address, open_to_others

BACKLOG = 1024
SOCKET_MODE = 0o660  # whoever may connect must hold a key as well
CONNECT_SECONDS = 1.0

Address = Path | tuple[str, int]


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
        return address, _tls(certificate, key)
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


def _tls(certificate: Path, key: Path) -> ssl.SSLContext:
    _refuse_open("EVERGRANT_TOKEN_TLS_KEY", key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:
        message = (
            f"EVERGRANT_TOKEN_TLS_CERTIFICATE and EVERGRANT_TOKEN_TLS_KEY: {certificate} and {key} cannot be used "
            f"({error.strerror or type(error).__name__})"
        )
        raise SettingsError(message) from None
    return context


async def listen(runner: web.BaseRunner, address: Address, tls: ssl.SSLContext | None, *, variable: str) -> str:
    """Open a listener; returns where it is, as people write it.

    Raises:
        SettingsError: it cannot be opened, or somebody listens there already.

    """
    try:
        if isinstance(address, Path):
            _refuse_taken(address)
            await web.UnixSite(runner, str(address), ssl_context=tls, backlog=BACKLOG).start()
            address.chmod(SOCKET_MODE)
            return f"unix:{address}"
        site = web.TCPSite(runner, address[0], address[1], ssl_context=tls, backlog=BACKLOG)
        await site.start()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        message = f"{variable}: cannot listen there: {reason}"
        raise SettingsError(message) from None
    host, port = runner.addresses[-1][:2]
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def _refuse_taken(path: Path) -> None:
    """Refuse a socket that somebody listens on: asyncio would put ours in its place without a word.

    Raises:
        OSError: it is taken.

    """
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(CONNECT_SECONDS)
        try:
            door.connect(str(path))
        except OSError:  # nobody is there; a dead socket is removed by asyncio
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
