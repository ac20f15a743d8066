"""Client TLS: the context of connections that show a certificate of ours (RFC 8705)."""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import NamedTemporaryFile

from tasks.oauth.client_key import ClientKey


def showing(certificate: ClientKey) -> ssl.SSLContext:
    """Make TLS that trusts the system's store and shows a certificate of ours, with those of who issued it."""
    tls = ssl.create_default_context()
    with _readable(certificate.pem.encode()) as path:
        tls.load_cert_chain(path)
    return tls


@contextmanager
def _readable(pem: bytes) -> Iterator[str]:
    """OpenSSL reads a key from a path only: one of a file in memory, or where there is none of one that soon goes."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("certificate")
        try:
            os.write(handle, pem)
            yield f"/proc/self/fd/{handle}"
        finally:
            os.close(handle)
    else:
        with NamedTemporaryFile() as file:  # only we may read it
            file.write(pem)
            file.flush()
            yield file.name
