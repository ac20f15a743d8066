"""Make an import file of the OAuth connections of a Nango of your own: rows of its database in, JSON Lines out.

    psql "$NANGO_DATABASE_URL" -XqAt -c "$ROWS" | python from_nango.py --integration KEY --key-file KEY_FILE

`ROWS` and the order of steps: docs/howto/move-from-nango.md. Each row is a JSON object a line, sealed as Nango keeps it
(AES-256-GCM, under NANGO_ENCRYPTION_KEY) or in clear, as its API answers with `refresh_token=true`.
"""

import argparse
import base64
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


class LeftOut(Exception):
    """A connection that Evergrant cannot keep; the message says why."""


def main() -> int:
    """Convert standard input; what is left out is counted on standard error, by why."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--integration", required=True, help="provider_config_key: one client of Evergrant's")
    parser.add_argument("--key-file", type=Path, help="holds NANGO_ENCRYPTION_KEY; not needed where nothing is sealed")
    given = parser.parse_args()
    key = base64.b64decode(given.key_file.read_text(encoding="utf-8").strip()) if given.key_file else None
    left_out: Counter[str] = Counter()
    written = 0
    for row in map(json.loads, filter(str.strip, sys.stdin)):
        try:
            print(json.dumps(line_of(row, given.integration, key)))
            written += 1
        except LeftOut as reason:
            left_out[str(reason)] += 1
    print(f"{written} grants; left out: {dict(left_out) or 'none'}", file=sys.stderr)
    return 0 if written else 1


def line_of(row: dict[str, Any], integration: str, key: bytes | None) -> dict[str, Any]:
    """One line of the import."""
    if row["provider_config_key"] != integration:
        raise LeftOut("of another integration")
    credentials = opened(row, key)
    if credentials.get("type") != "OAUTH2":
        raise LeftOut(f"its credentials are {credentials.get('type')}, not OAUTH2")
    if (credentials.get("config_override") or {}).get("client_id"):
        raise LeftOut("it has a client id of its own (config_override): add a client for it")
    if not credentials.get("refresh_token"):
        raise LeftOut("it has no refresh token")
    return {"ref": row["connection_id"], **dict(told(credentials))}


def told(credentials: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """What Nango knows of a token set, in the words of an import."""
    yield "refresh_token", credentials["refresh_token"]
    if credentials.get("expires_at"):  # without it the access token's end is unknown, and it is renewed at once
        yield "access_token", credentials["access_token"]
        yield "expires_at", credentials["expires_at"]
    if isinstance(scope := (credentials.get("raw") or {}).get("scope"), str) and scope:
        yield "scope", scope


def opened(row: dict[str, Any], key: bytes | None) -> dict[str, Any]:
    """The credentials in clear."""
    credentials: dict[str, Any] = row["credentials"]
    if (sealed := credentials.get("encrypted_credentials")) is None:
        return credentials
    if key is None:
        sys.exit("The rows are sealed: write NANGO_ENCRYPTION_KEY into a file, and name it with --key-file.")
    nonce, tag = base64.b64decode(row["credentials_iv"]), base64.b64decode(row["credentials_tag"])
    try:
        clear: dict[str, Any] = json.loads(AESGCM(key).decrypt(nonce, base64.b64decode(sealed) + tag, None))
    except InvalidTag:
        sys.exit(f"{row['connection_id']} does not open: this is not the NANGO_ENCRYPTION_KEY that sealed it.")
    return clear


if __name__ == "__main__":
    sys.exit(main())
