"""An application that knows nothing but HTTP, beside a real `up` whose parts are killed."""

import re
from pathlib import Path

from tests.acceptance.one_machine import OneMachine
from tests.acceptance.providers import ORG, call, simulated
from tests.integration.web.asking import Answer, Web
from tests.polling import eventually
from worker.web.server import Addresses


def answered(web: Web, ref: str, **query: object) -> Answer | None:
    """An answer, once there is one: a process that was killed answers nobody."""
    try:
        return web.get(ref, **query)
    except OSError:
        return None


def token(web: Web, ref: str, **query: object) -> Answer:
    """A token, waited for however the server fares."""

    def got() -> Answer | None:
        answer = answered(web, ref, **query)
        return answer if answer is not None and answer.status == 200 else None

    return eventually(got, timeout=60)  # type: ignore[return-value]


def test_an_application_reads_reports_and_revokes_while_processes_die(tmp_path: Path) -> None:
    sockets = {name: str(tmp_path / f"{name}.sock") for name in ("token", "ops")}
    with simulated("on_use", lifetime=12) as provider:
        machine = OneMachine.up(tmp_path / "one-machine", token_bind=sockets["token"], ops_bind=sockets["ops"])
        try:
            machine.register("sim", provider.registration(), provider.secret)
            first, second = provider.mint(2)
            machine.import_grants("sim", [first | {"labels": {"org": [ORG, "other"]}}, second])
            machine.command("apps", "add", "billing", "--client", "sim", "--key-file", str(tmp_path / "key"))
            key = (tmp_path / "key").read_text(encoding="utf-8").strip()
            web = Web(Addresses(f"unix:{sockets['ops']}", f"unix:{sockets['token']}"), key)

            # The token that came with the right header opens the provider's API.
            assert token(web, "customer-2").json["headers"] == {}
            assert web.get("customer-1").error == (400, "label_not_chosen")
            told = token(web, "customer-1", org=ORG).json
            headers = {"Authorization": f"Bearer {told['access_token']}", **told["headers"]}
            assert call(provider.url, "GET", provider.api, headers=headers)[0] == 200

            machine.kill_part("web")
            assert token(web, "customer-1", org=ORG).status == 200
            machine.stop_database_at_once()
            assert token(web, "customer-1", org=ORG).status == 200

            # A report of a 401 brings the next generation.
            held = token(web, "customer-1", org=ORG).json["generation"]
            awaited = eventually(lambda: _higher(web, held), timeout=60)
            assert eventually(lambda: token(web, "customer-1", org=ORG).json["generation"] >= awaited, timeout=60)

            # Whoever is revoked is dead at the provider, and told so here.
            last = token(web, "customer-2").json["access_token"]
            assert web.post("customer-2", "revocation", {"reason": "account deleted"}).status == 202
            assert web.get("customer-2").error == (410, "revoked")
            eventually(lambda: provider.opens(last) == 401, timeout=60)

            assert "alive" in machine.command("web", "--check")
            assert web.ops("/healthz").json == {"alive": True}
            assert machine.supervisor.stop(90) == 0
        finally:
            machine.close()
        said = machine.supervisor.log.read_text(encoding="utf-8")
        assert key not in said
        assert told["access_token"] not in said
        ends = re.findall("web.stopping|received fast shutdown request|Valkey is now ready to exit", said)
        assert ends[-3:] == ["web.stopping", "Valkey is now ready to exit", "received fast shutdown request"]


def _higher(web: Web, held: int) -> int:
    """What a report answers, once the token set is old enough to be refreshed again."""
    answer = web.post("customer-1", "rejected", {"generation": held})
    generation: int = answer.json["generation"] if answer.status == 202 else 0
    return generation if generation > held else 0
