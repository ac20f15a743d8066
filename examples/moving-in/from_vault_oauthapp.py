"""Make an import file of the credentials of Vault's oauthapp plugin: names in, a line each, JSON Lines out.

    python from_vault_oauthapp.py --mount-uuid UUID --server NAME < names.txt

The plugin shows no refresh token and lists no names, so the entries are read where Vault keeps them, by `sys/raw`
(`raw_storage_endpoint = true`): VAULT_ADDR says where, VAULT_TOKEN must be allowed to. docs/howto has the order of
steps.
"""

import argparse
import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus
from http.client import HTTPConnection, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

NEVER = "0001-01-01"  # Go's zero time: the provider did not say when the access token ends


class LeftOut(Exception):
    """A credential that Evergrant cannot keep; the message says why."""


def main() -> int:
    """Convert the names on standard input; what is left out is counted on standard error, by why."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mount-uuid", required=True, help="of `vault secrets list -detailed -format=json`")
    parser.add_argument("--server", default="", help="auth_server_name: one client of Evergrant's")
    given = parser.parse_args()
    left_out: Counter[str] = Counter()
    written = 0
    vault = Vault(os.environ.get("VAULT_ADDR", "http://127.0.0.1:8200"), os.environ["VAULT_TOKEN"])
    for name in filter(None, map(str.strip, sys.stdin)):
        try:
            print(json.dumps(line_of(name, vault.read(place_of(name, given.mount_uuid)), given.server)))
            written += 1
        except LeftOut as reason:
            left_out[str(reason)] += 1
    print(f"{written} grants; left out: {dict(left_out) or 'none'}", file=sys.stderr)
    return 0 if written else 1


def place_of(name: str, mount_uuid: str) -> str:
    """Where Vault keeps the entry: the plugin names it by a hash."""
    digest = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()
    return f"logical/{mount_uuid}/creds/{digest[:4]}/{digest[4:8]}/{digest[8:]}"


def line_of(name: str, entry: dict[str, Any] | None, server: str) -> dict[str, Any]:
    """One line of the import."""
    if entry is None:
        raise LeftOut("there is none of this name")
    if entry.get("auth_server_name", "") != server:
        raise LeftOut("of another server")
    if not entry.get("refresh_token"):
        raise LeftOut("it has no refresh token")
    if entry.get("user_error"):
        raise LeftOut("the provider has refused it for good (user_error)")
    return {"ref": name, **dict(told(entry))}


def told(entry: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """What the plugin knows of a token set, in the words of an import."""
    yield "refresh_token", entry["refresh_token"]
    ends = entry.get("expiry", NEVER)
    if not ends.startswith(NEVER):
        yield "access_token", entry["access_token"]
        yield "expires_at", ends


class Vault:
    """Its HTTP interface, over one connection."""

    def __init__(self, address: str, token: str) -> None:
        parts = urlsplit(address)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._connection = kind(parts.netloc, timeout=30)
        self._headers = {"X-Vault-Token": token}

    def read(self, place: str) -> dict[str, Any] | None:
        """One entry of its storage; None: there is none."""
        self._connection.request("GET", f"/v1/sys/raw/{place}", headers=self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status == HTTPStatus.NOT_FOUND:
            return None
        if answer.status != HTTPStatus.OK:
            asked = "is raw_storage_endpoint = true, and may VAULT_TOKEN read sys/raw?"
            sys.exit(f"Vault answers {answer.status}: {asked}")
        said = json.loads(body)
        entry: dict[str, Any] = json.loads((said.get("data") or said)["value"])
        return entry


if __name__ == "__main__":
    sys.exit(main())
