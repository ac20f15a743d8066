"""A key that may only read tries everything, against a real web process: it reads, and changes nothing."""

import sys
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

from tests.acceptance.installation import Installation
from tests.integration.web.asking import ask
from tests.polling import eventually

QUICK = {"backoff_first_seconds": "1"}
BODIES = (None, b"{}", b'{"generation": 1}', b'{"erase": true}', b'{"missing_ok": true}', b"[]", b"{")
TARGETS = ("token", "refresh", "rejected", "revocation", "erasure", "connect", "", "TOKEN", "revocation/", "../apps")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE")
CHANGED = """
    select (select count(*) from evergrant.revocations), (select count(*) from evergrant.erasures),
        (select count(*) from evergrant.refresh_requests), (select count(*) from evergrant.applications),
        (select count(*) from evergrant.notices), (select count(*) from evergrant.tickets),
        (select max(id) from evergrant.events),
        (select string_agg(g::text, '' order by g.id) from evergrant.grants g)
"""


def test_it_reads_and_changes_nothing(tmp_path: Path, migrated_url: str, broker_url: str) -> None:
    made = Installation.made(tmp_path / "i", database_url=migrated_url, broker_url=broker_url, **QUICK)
    socket = tmp_path / "t"
    made.env |= {"EVERGRANT_TOKEN_BIND": str(socket), "EVERGRANT_OPS_BIND": str(tmp_path / "o")}
    words = ("--provider", "simulator", "--client-id", "app", "--redirect-uri", "http://127.0.0.1:1/c")
    for name in ("ours", "theirs"):
        made.register(name, words, "s3cret-of-the-client")
        row = {"ref": f"customer-{name}", "refresh_token": f"rt-{name}", "access_token": f"at-{name}"}
        made.import_grants(name, [row | {"expires_at": (datetime.now(UTC) + timedelta(hours=2)).isoformat()}])
    made.command("apps", "add", "reader", "--may", "read", "--client", "ours", "--key-file", str(tmp_path / "key"))
    key = (tmp_path / "key").read_text(encoding="utf-8").strip()
    try:
        web = made.run("web", [sys.executable, "-m", "worker.cli", "web"])
        eventually(lambda: web.said("web.listening"), timeout=60)
        before = made.rows(CHANGED)
        statuses = set()
        for method, what, ref, body in product(METHODS, TARGETS, ("customer-ours", "customer-theirs"), BODIES):
            target = f"/v1/grants/{ref}/{what}"
            answer = ask(f"unix:{socket}", method, target, headers={"Authorization": f"Bearer {key}"}, body=body)
            statuses.add(answer.status)
            if answer.status == 200:
                assert (method, what, ref) == ("GET", "token", "customer-ours")
                assert answer.json["access_token"] == "at-ours"
            else:
                assert b"at-" not in answer.body
                assert (method, what) != ("GET", "token") or ref == "customer-theirs"
            if method == "POST" and what in ("refresh", "rejected", "revocation", "connect"):
                assert answer.error == (403, "not_allowed")
        assert statuses == {200, 403, 404, 405}
        assert made.rows(CHANGED) == before
    finally:
        made.close()
