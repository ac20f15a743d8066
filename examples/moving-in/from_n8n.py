"""Make an import file of the OAuth 2.0 credentials of an n8n: its decrypted export in, JSON Lines out.

    n8n export:credentials --all --decrypted --output=/dev/stdout | python from_n8n.py --client-id ID

Without --client-id it writes no line, and counts the credentials by client id: each is one client of Evergrant's.
When an access token ends is not in an export, so none is taken along: each grant is due, and renewed, at once.
"""

import argparse
import json
import sys
from collections import Counter
from typing import Any


class LeftOut(Exception):
    """A credential that Evergrant cannot keep; the message says why."""


def main() -> int:
    """Convert standard input; what is left out is counted on standard error, by why."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--client-id", help="only those that were consented to under this id")
    parser.add_argument("--ref", choices=("id", "name"), default="id", help="what applications will call the grant")
    given = parser.parse_args()
    read = json.load(sys.stdin)
    credentials: list[dict[str, Any]] = read if isinstance(read, list) else [read]
    if given.client_id is None:
        for (kind, client_id), count in sorted(clients(credentials).items()):
            print(f"{count} of {kind}: --client-id {client_id}", file=sys.stderr)
        return 0
    left_out: Counter[str] = Counter()
    written = 0
    for each in credentials:
        try:
            print(json.dumps(line_of(each, given.client_id, given.ref)))
            written += 1
        except LeftOut as reason:
            left_out[str(reason)] += 1
    print(f"{written} grants; left out: {dict(left_out) or 'none'}", file=sys.stderr)
    return 0 if written else 1


def clients(credentials: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    """How many credentials each registration has."""
    known = (each for each in credentials if isinstance(each["data"], dict) and "oauthTokenData" in each["data"])
    return Counter((each["type"], str(each["data"].get("clientId"))) for each in known)


def line_of(credential: dict[str, Any], client_id: str, named_by: str) -> dict[str, Any]:
    """One line of the import."""
    data = credential["data"]
    if isinstance(data, str):
        sys.exit("The export is sealed: make it with --decrypted.")
    if not isinstance(tokens := data.get("oauthTokenData"), dict):
        raise LeftOut("it is no OAuth 2.0 credential, or nobody has connected it")
    if data.get("clientId") != client_id:
        raise LeftOut("of another client id")
    if not tokens.get("refresh_token"):
        raise LeftOut("it has no refresh token")
    line = {"ref": str(credential[named_by]), "refresh_token": tokens["refresh_token"]}
    return line | ({"scope": tokens["scope"]} if isinstance(tokens.get("scope"), str) and tokens["scope"] else {})


if __name__ == "__main__":
    sys.exit(main())
