"""What other keepers hold comes in: exports of Nango, Vault's oauthapp and n8n, through the programs of examples."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.integration.cli.evergrant import Evergrant
from tests.other_languages import psql

ROOT = Path(__file__).resolve().parents[3]
PROGRAMS = ROOT / "examples" / "moving-in"
PAGES = ROOT / "docs" / "howto"
LATER = "2126-11-29T05:00:00.000Z"


def converted(program: str, *options: str, stdin: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAMS / program), *options]
    return subprocess.run(
        command, input=stdin, env=os.environ | env, capture_output=True, text=True, timeout=60, check=False
    )


def came_in(evergrant: Evergrant, lines: str, sql: Any) -> dict[str, tuple[str | None, bool]]:
    """Import as the pages say: a look, then paused; each ref's scope, and whether its access token is handed out."""
    looked = evergrant("grants", "import", "-", "--client", "temple", "--dry-run", "--json", stdin=lines)
    assert looked.code == 0, looked.err
    taken = evergrant("grants", "import", "-", "--client", "temple", "--paused", "--json", stdin=lines)
    assert (taken.code, taken.json["imported"]) == (0, len(lines.splitlines())), taken.err
    assert sql("select distinct status from evergrant.grants") == [("paused",)]
    found = sql(
        "select g.ref, g.scope, t.sealed_access_token is not null from evergrant.grants g"
        " left join evergrant.access_tokens t on t.grant_id = g.id order by g.ref"
    )
    return {ref: (scope, handed_out) for ref, scope, handed_out in found}


# Nango


def sealed(key: bytes, credentials: dict[str, Any]) -> dict[str, Any]:
    nonce = os.urandom(12)
    both = AESGCM(key).encrypt(nonce, json.dumps(credentials).encode(), None)
    text = [base64.b64encode(each).decode() for each in (both[:-16], nonce, both[-16:])]
    return {"credentials": {"encrypted_credentials": text[0]}, "credentials_iv": text[1], "credentials_tag": text[2]}


def of_nango(ref: str, key: bytes | None = None, integration: str = "hubspot", **members: Any) -> dict[str, Any]:
    credentials = {"type": "OAUTH2", "access_token": f"at-{ref}", "refresh_token": f"rt-{ref}", "raw": {}} | members
    row = {"connection_id": ref, "provider_config_key": integration}
    if key is None:
        return row | {"credentials": credentials, "credentials_iv": None, "credentials_tag": None}
    return row | sealed(key, credentials)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "nango.key"
    file.write_text(base64.b64encode(b"k" * 32).decode() + "\n", encoding="utf-8")
    return file


def test_connections_of_nango_come_in(temple: Evergrant, sql: Any, key_file: Path) -> None:
    key = b"k" * 32
    rows = [
        of_nango("a", key, expires_at=LATER, raw={"scope": "read write"}),
        of_nango("in-clear", expires_at=LATER),
        of_nango("no-end", key),
        of_nango("other", key, integration="slack"),
        of_nango("api-key", key, type="API_KEY"),
        of_nango("own-id", key, config_override={"client_id": "theirs"}),
        of_nango("no-refresh", key, refresh_token=None),
    ]
    stdin = "\n".join(map(json.dumps, rows)) + "\n\n"
    done = converted("from_nango.py", "--integration", "hubspot", "--key-file", str(key_file), stdin=stdin)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("3 grants; left out:")
    for reason in ("another integration", "API_KEY, not OAUTH2", "config_override", "no refresh token"):
        assert reason in done.stderr
    assert "rt-" not in done.stderr
    assert came_in(temple, done.stdout, sql) == {
        "a": ("read write", True),
        "in-clear": (None, True),
        "no-end": (None, False),
    }


def test_a_wrong_key_of_nangos_is_told_and_nothing_of_what_it_seals(tmp_path: Path, key_file: Path) -> None:
    row = json.dumps(of_nango("a", b"x" * 32))
    done = converted("from_nango.py", "--integration", "hubspot", "--key-file", str(key_file), stdin=row)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "a does not open: this is not the NANGO_ENCRYPTION_KEY that sealed it.\n"
    without = converted("from_nango.py", "--integration", "hubspot", stdin=row)
    assert "--key-file" in without.stderr


def test_the_rows_that_the_page_selects_are_those_that_the_program_reads(
    empty_postgres_url: str, key_file: Path
) -> None:
    # As Nango's migrations make them, less what is not asked for.
    tables = """
        create schema nango;
        create table nango._nango_environments (id serial primary key, name varchar(255));
        create table nango._nango_connections (
            id serial primary key, connection_id varchar(255), provider_config_key varchar(255),
            credentials json not null, credentials_iv varchar(255), credentials_tag varchar(255),
            environment_id integer, deleted boolean default false);
        insert into nango._nango_environments (name) values ('dev'), ('prod');
    """
    with psycopg.connect(empty_postgres_url) as connection:
        connection.execute(tables.encode())
        for ref, environment, deleted in (("a", 2, False), ("of-dev", 1, False), ("gone", 2, True)):
            row = of_nango(ref, b"k" * 32, expires_at=LATER)
            connection.execute(
                "insert into nango._nango_connections (connection_id, provider_config_key, credentials, credentials_iv,"
                " credentials_tag, environment_id, deleted) values (%s, 'hubspot', %s, %s, %s, %s, %s)",
                [
                    ref,
                    json.dumps(row["credentials"]),
                    *(row[f"credentials_{x}"] for x in ("iv", "tag")),
                    environment,
                    deleted,
                ],
            )
    page = (PAGES / "move-from-nango.md").read_text(encoding="utf-8")
    query = page.partition("cat > rows.sql <<'SQL'\n")[2].partition("\nSQL\n")[0]
    rows = psql(empty_postgres_url, f"\\set environment prod\n{query}\n").stdout
    done = converted("from_nango.py", "--integration", "hubspot", "--key-file", str(key_file), stdin=rows)
    assert [json.loads(line)["ref"] for line in done.stdout.splitlines()] == ["a"], done.stderr


# Vault


@contextmanager
def vault(entries: dict[str, dict[str, Any]]) -> Iterator[str]:
    """What answers as Vault's `sys/raw` does; yields its address."""

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            entry = entries.get(self.path.removeprefix("/v1/sys/raw/logical/u-1/creds/"))
            allowed = self.headers["X-Vault-Token"] == "root"
            status = 403 if not allowed else 404 if entry is None else 200
            value = {"value": json.dumps(entry) + "\n"}
            body = json.dumps({"request_id": "r", **value, "data": value} if status == 200 else {"errors": []}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def place(name: str) -> str:
    digest = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()
    return f"{digest[:4]}/{digest[4:8]}/{digest[8:]}"


def of_vault(name: str, **members: Any) -> dict[str, Any]:
    token = {"access_token": f"at-{name}", "token_type": "Bearer", "refresh_token": f"rt-{name}"}
    return token | {"expiry": "0001-01-01T00:00:00Z", "auth_server_name": "temple", "last_issue_time": LATER} | members


def test_credentials_of_vaults_plugin_come_in(temple: Evergrant, sql: Any) -> None:
    entries = {
        "customer/42": of_vault("42", expiry="2126-11-29T05:00:00.123456789+01:00"),
        "no-end": of_vault("no-end"),
        "other": of_vault("other", auth_server_name="slack"),
        "refused": of_vault("refused", user_error="invalid_grant"),
        "no-refresh": of_vault("no-refresh", refresh_token=""),
    }
    names = "\n".join([*entries, "unknown", ""])
    options = ["--mount-uuid", "u-1", "--server", "temple"]
    with vault({place(name): entry for name, entry in entries.items()}) as address:
        env = {"VAULT_ADDR": address, "VAULT_TOKEN": "root"}
        done = converted("from_vault_oauthapp.py", *options, stdin=names, **env)
        refused = converted("from_vault_oauthapp.py", *options, stdin=names, **env | {"VAULT_TOKEN": "nobody"})
    assert done.returncode == 0, done.stderr
    for reason in ("none of this name", "another server", "user_error", "no refresh token"):
        assert reason in done.stderr
    assert "rt-" not in done.stderr
    assert came_in(temple, done.stdout, sql) == {"customer/42": (None, True), "no-end": (None, False)}
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "raw_storage_endpoint" in refused.stderr


# n8n


def of_n8n(ref: str, client_id: str = "id-1", **tokens: Any) -> dict[str, Any]:
    data = {"clientId": client_id, "clientSecret": "s", "oauthTokenData": {"refresh_token": f"rt-{ref}", **tokens}}
    return {"id": ref, "name": f"Account {ref}", "type": "hubspotOAuth2Api", "data": data, "isManaged": False}


EXPORT = [
    of_n8n("Ab3", access_token="at", expires_in=1800, scope="crm.read"),
    of_n8n("Cd4"),
    of_n8n("other", client_id="id-2"),
    of_n8n("no-refresh", refresh_token=None),
    {"id": "key", "name": "Key", "type": "httpHeaderAuth", "data": {"name": "X-Key", "value": "v"}},
]


def test_credentials_of_n8n_come_in(temple: Evergrant, sql: Any) -> None:
    done = converted("from_n8n.py", "--client-id", "id-1", stdin=json.dumps(EXPORT))
    assert done.returncode == 0, done.stderr
    for reason in ("no OAuth 2.0 credential", "another client id", "no refresh token"):
        assert reason in done.stderr
    assert "rt-" not in done.stderr
    assert came_in(temple, done.stdout, sql) == {"Ab3": ("crm.read", False), "Cd4": (None, False)}


def test_an_export_of_n8n_is_looked_at_first() -> None:
    done = converted("from_n8n.py", stdin=json.dumps(EXPORT))
    assert (done.returncode, done.stdout) == (0, "")
    assert "3 of hubspotOAuth2Api: --client-id id-1" in done.stderr
    named = converted("from_n8n.py", "--client-id", "id-1", "--ref", "name", stdin=json.dumps(EXPORT[0]))
    assert json.loads(named.stdout)["ref"] == "Account Ab3"
    closed = converted("from_n8n.py", "--client-id", "id-1", stdin=json.dumps([{**EXPORT[0], "data": "U2FsdGVk"}]))
    assert (closed.returncode, closed.stderr) == (1, "The export is sealed: make it with --decrypted.\n")
