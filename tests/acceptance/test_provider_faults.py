"""What a provider may answer, or a machine in front of it: each fault over real HTTP, and what it costs."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from tests.acceptance.installation import Installation
from tests.acceptance.keeping import due_now
from tests.acceptance.providers import Simulated, simulated
from tests.certificates import self_signed
from tests.polling import eventually
from tests.raw_servers import OK, Bench, Peer, keep_answering

LIFETIME = 8.0
WELL = 12  # grants beside those that are struck
INVALID_GRANT = '{"error": "invalid_grant", "error_description": "no"}'

# What is struck once each, and what our side may make of it; `after`: the provider has acted by then.
AFTER: dict[str, tuple[dict[str, Any], set[str]]] = {
    "504-after": ({"act": "status", "status": 504, "when": "after"}, {"http_504"}),
    "html-after": ({"act": "html", "status": 200, "when": "after"}, {"unreadable"}),
    "hang-after": ({"act": "hang", "when": "after"}, {"timeout"}),
    "reset-after": ({"act": "reset", "when": "after"}, {"reset"}),
    "truncated": ({"act": "truncate", "at": 60}, {"truncated"}),
}
BEFORE: dict[str, tuple[dict[str, Any], set[str]]] = {
    "500": ({"act": "status", "status": 500}, {"http_500"}),
    "502-that-says-invalid-grant": ({"act": "status", "status": 502, "body": INVALID_GRANT}, {"http_502"}),
    "html": ({"act": "html"}, {"http_502"}),
    "hang": ({"act": "hang"}, {"timeout"}),
    "reset": ({"act": "reset"}, {"reset"}),
    "drop": ({"act": "drop"}, {"reset"}),
    "redirect": ({"act": "redirect"}, {"http_307"}),
    "error-inside": (
        {"act": "status", "status": 200, "body": '{"error": "temporarily_unavailable"}'},
        {"temporarily_unavailable"},
    ),
    "page-that-says-invalid-grant": (
        {"act": "status", "status": 400, "body": "<p>invalid_grant</p>", "headers": {"Content-Type": "text/html"}},
        {"http_400"},
    ),
}
MORE_AFTER: dict[str, tuple[dict[str, Any], set[str]]] = {
    "dripping": ({"act": "drip", "interval_seconds": 0.2}, {"timeout"}),
    "huge": ({"act": "huge", "when": "after"}, {"too_large"}),
    "503-after": ({"act": "status", "status": 503, "when": "after", "headers": {"Retry-After": "1"}}, {"http_503"}),
}
POISON: dict[str, dict[str, Any]] = {
    "scope-with-nul": {"scope": "crm\u0000read"},
    "scope-is-a-list": {"scope": ["crm_read", 1]},
    "life-of-ages": {"expires_in": 10**18},
    "life-below-zero": {"expires_in": -5},
    "life-is-a-word": {"expires_in": "soon"},
    "members-nobody-knows": {"id_token": {"a": [None, "\ud800"]}, "x" * 300: "\u0000"},
}


def strike(provider: Simulated, faults: dict[str, tuple[dict[str, Any], set[str]]]) -> None:
    """Each fault befalls the grant that is called after it, once."""
    for ref, (fault, _) in faults.items():
        provider.control.add_fault(where="token", ref=ref, count=1, **fault)


def take_over(installation: Installation, provider: Simulated, client: str, refs: list[str]) -> None:
    """New consents of these refs and some that nothing befalls, all due now."""
    rows = provider.control.mint(provider.client_id, refs=refs) if refs else []
    named = [{"ref": row["ref"], "refresh_token": row["refresh_token"]} for row in rows]
    well = [{**row, "ref": f"{client}-{row['ref']}"} for row in due_now(provider, WELL)]
    installation.register(client, provider.registration(), provider.secret)
    installation.import_grants(client, [*named, *well])


def seen(installation: Installation) -> dict[str, set[str]]:
    """What the workers' logs say of each ref: the outcomes of its requests."""
    found: dict[str, set[str]] = {}
    for line in installation.logged('"event": "refresh"'):
        told = json.loads(line)
        found.setdefault(told["ref"], set()).add(told["outcome"])
    return found


def each_was_seen(installation: Installation, faults: dict[str, tuple[dict[str, Any], set[str]]]) -> bool:
    outcomes = seen(installation)
    return all(outcomes.get(ref, set()) & expected for ref, (_, expected) in faults.items())


def test_whatever_a_provider_answers_costs_no_grant_at_on_use_and_only_the_lost_answers_at_immediate(
    swift: Installation,
) -> None:
    """All faults at both providers, side by side: none shuts out the grants that nothing befell."""
    with (
        simulated("on_use", lifetime=LIFETIME) as on_use,
        simulated("immediate", lifetime=LIFETIME) as immediate,
    ):
        lossless = AFTER | BEFORE | MORE_AFTER
        strike(on_use, {f"u-{ref}": each for ref, each in lossless.items()})
        strike(immediate, {f"i-{ref}": each for ref, each in (AFTER | BEFORE).items()})
        for ref, patch in POISON.items():
            for provider, kind in ((on_use, "u"), (immediate, "i")):
                provider.control.add_fault("patch", where="token", ref=f"{kind}-{ref}", count=1, patch=patch)
        swift.worker()
        take_over(swift, on_use, "on_use", [f"u-{ref}" for ref in (*lossless, *POISON)])
        take_over(swift, immediate, "immediate", [f"i-{ref}" for ref in (*AFTER, *BEFORE, *POISON)])
        swift.beat()

        alive = {"on_use": len(lossless | POISON) + WELL, "immediate": len(BEFORE | POISON) + WELL}
        eventually(lambda: swift.statuses("immediate").get("needs_consent") == len(AFTER), timeout=90)
        eventually(lambda: swift.fresh() == alive, timeout=60)

        outcomes = seen(swift)
        for kind, faults in (("u", lossless), ("i", AFTER | BEFORE)):
            assert {ref: outcomes[f"{kind}-{ref}"] for ref, (_, codes) in faults.items()
                    if not outcomes[f"{kind}-{ref}"] & codes} == {}  # fmt: skip
        assert swift.statuses("on_use") == {"active": alive["on_use"]}
        assert on_use.lost() == []
        # At `immediate` no client can save what was lost on the wire: those, told as such, and not one more.
        letters = {letter["ref"]: letter["cause"] for letter in swift.listed("dead-letters", "list")}
        assert letters == {f"i-{ref}": "response_lost" for ref in AFTER}
        assert set(immediate.lost()) == set(letters)
        # Whoever follows a redirect would have been found out.
        assert not [each for each in on_use.control.requests(limit=5000) if each["endpoint"] == "elsewhere"]


RETRY_AFTER = {
    # What the header says, and for how long the valve must then be shut: at least, and at most.
    "seconds": ("20", 15, 20),
    "a-date": (format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True), 250, 300),
    "the-past": ("Wed, 01 Jan 2020 05:00:00 GMT", 0, 10),
    "absurd": ("99999999999999999999", 250, 300),
    "words": ("later \u00e9 perhaps", 0, 10),
}


def test_a_429_and_a_503_with_any_retry_after_shut_the_valve_for_five_minutes_at_most_and_blame_no_grant(
    swift: Installation,
) -> None:
    with simulated("on_use", lifetime=7200) as first:
        clients = {f"{status}-{name}": (status, name) for status, name in cases()}
        swift.worker()
        for client, (status, name) in clients.items():
            provider = first.another(client)
            headers = {"Retry-After": RETRY_AFTER[name][0]}
            first.control.add_fault("status", where="token", client_id=client, status=status, headers=headers)
            swift.register(client, provider.registration(), provider.secret)
            swift.import_grants(client, [{**row, "ref": f"{client}-{row['ref']}"} for row in due_now(provider, 1)])
        shut = """
            select c.name, v.pause_reason, extract(epoch from v.paused_until - v.changed_at)::float as seconds
            from evergrant.valves v join evergrant.clients c on c.id = v.client_id where v.paused_until is not null
        """
        swift.beat()
        eventually(lambda: {row["name"] for row in swift.rows(shut)} == set(clients), timeout=40)
        for row in swift.rows(shut):
            _, least, most = RETRY_AFTER[clients[row["name"]][1]]
            assert least <= row["seconds"] <= most + 1, row
        blamed = "select ref from evergrant.grants where suspect_at is not null or status <> 'active'"
        assert swift.rows(blamed) == []
        # A 429 says that nothing was done; after a 503 nobody knows.
        in_doubt = swift.rows(
            "select distinct c.name from evergrant.grants g join evergrant.clients c on c.id = g.client_id"
            " where g.doubt_since is not null"
        )
        assert {row["name"].partition("-")[0] for row in in_doubt} == {"503"}


def cases() -> list[tuple[int, str]]:
    """Each kind of value once, the statuses in turn: a client costs two commands."""
    return [(429, "seconds"), (503, "a-date"), (429, "the-past"), (503, "absurd"), (429, "words")]


def test_a_provider_that_hangs_starves_no_other_clients_grants_in_the_same_worker(
    tmp_path: Path, migrated_url: str, broker_url: str
) -> None:
    narrow = Installation.made(
        tmp_path / "narrow",
        database_url=migrated_url,
        broker_url=broker_url,
        concurrency="2",
        in_flight="20",
        batch_size="5",
        http_deadline_seconds="90",
        attempt_lease_seconds="120",
    )
    try:
        with simulated("none", lifetime=LIFETIME) as hanging, simulated("immediate", lifetime=6) as well:
            hanging.control.add_fault("hang", where="token")
            narrow.worker()
            narrow.beat()
            # The simulator's own file has a deadline of its own, and a short one.
            patient = [part.replace("simulator", "generic") for part in hanging.registration()]
            narrow.register("hanging", [*patient, "--body", "json"], hanging.secret)
            narrow.import_grants("hanging", due_now(hanging, 200))
            eventually(lambda: len(under_way(narrow)) >= 10, timeout=30)
            narrow.register("well", well.registration(), well.secret)
            narrow.import_grants("well", well.mint(20))
            eventually(lambda: [len(times) for times in well.refreshes().values() if len(times) >= 2][19:], timeout=60)
            assert len(under_way(narrow)) >= 10  # it hangs still
            assert narrow.fresh()["well"] == 20
            assert {request["status"] for request in well.asked()} == {200}
    finally:
        narrow.close()


def under_way(installation: Installation) -> list[dict[str, Any]]:
    return installation.rows("select ref from evergrant.grants where started_at is not null")


async def speaks_no_tls(peer: Peer) -> None:
    await peer.reader.read(1)
    await peer.say(OK)


def test_where_tls_is_broken_nothing_is_sent_and_all_is_well_once_it_is_mended(
    swift: Installation, tmp_path: Path
) -> None:
    bench = Bench()
    servers = [bench.serve(keep_answering, self_signed(tmp_path)[0]), bench.serve(speaks_no_tls)]
    failed = "select ref from evergrant.grants where failures >= %s and last_error_code like 'tls%%'"
    try:
        with simulated("immediate", lifetime=LIFETIME) as provider:
            swift.worker()
            swift.beat()
            options = [*provider.registration(), "--token-url", servers[0].url("https")]
            swift.register("app", options, provider.secret)
            swift.import_grants("app", due_now(provider, 1))  # alone it is left to its own back-off
            eventually(lambda: swift.rows(failed, [1]), timeout=40)
            swift.command("clients", "set", "app", "--token-url", servers[1].url("https"))
            eventually(lambda: servers[1].connections >= 1, timeout=40)
            eventually(lambda: swift.rows(failed, [2]), timeout=40)
            assert [server.requests for server in servers] == [[], []]
            assert swift.rows("select ref from evergrant.grants where doubt_since is not null") == []
            swift.command("clients", "set", "app", "--token-url", f"{provider.url}/oauth/token")
            eventually(lambda: swift.fresh() == {"app": 1}, timeout=60)
            assert provider.presented_twice() == 0
            assert swift.statuses("app") == {"active": 1}
    finally:
        bench.close()
