"""`status` names causes and not only counts, and ends with 1 where somebody must act; `reseal` in the wrong order."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

import settings
from models.sealing.vault import KeyRing
from tests.integration.cli.evergrant import ALIVE, Evergrant


@pytest.fixture
def living(staffed: Evergrant) -> Evergrant:
    """`temple` with three grants; a beat and a worker that live and hold its keys."""
    staffed.take_in("a", "b", "c")
    return staffed


def told(evergrant: Evergrant) -> list[tuple[str, str, bool]]:
    found = evergrant("status", "--json").json["attention"]
    return [(each["what"], each["next"], each["human"]) for each in found]


def test_where_all_is_well_nothing_is_told_and_it_ends_with_0(living: Evergrant) -> None:
    done = living("status")
    assert (done.code, told(living)) == (0, [])
    assert "All is well." in done.out


def test_status_says_which_home_and_which_database_it_looks_at_and_no_password(living: Evergrant, sql: Any) -> None:
    found, name = living("status", "--json").json, sql("select current_database()")[0][0]
    home = str(settings.current().home)
    assert (found["home"], found["database_name"]) == (home, name)
    assert found["database_host"]
    told = " ".join(living("status").out.split())
    assert f"home {home}, database {name} at {found['database_host']}" in told


def test_a_cause_is_named_with_its_client_its_count_and_since_when(living: Evergrant, sql: Any) -> None:
    sql(
        """update evergrant.grants set failures = 1, failing_since = '2026-01-02 14:02Z',
        last_error_code = 'invalid_client', last_error_at = now() where ref in ('a', 'b')"""
    )
    ((what, step, human),) = told(living)
    assert what == "temple: 2 failing, invalid_client since 2026-01-02T14:02:00Z"
    assert "evergrant clients set-secret temple" in step
    assert human
    assert living("status").code == 1
    sql("update evergrant.grants set last_error_code = 'http_504'")
    ((what, step, human),) = told(living)
    assert (what, human) == ("temple: 2 failing, http_504 since 2026-01-02T14:02:00Z", False)
    assert step == "evergrant explain a --client temple"
    done = living("status")
    assert done.code == 0  # it mends itself
    assert "All is well." not in done.out


def test_a_certificate_that_has_ended_is_nothing_to_change_here(living: Evergrant, sql: Any) -> None:
    sql(
        """update evergrant.grants set failures = 1, failing_since = now(), last_error_code = 'tls_certificate',
        last_error_shape = 'ended', last_error_at = now() where ref = 'a'"""
    )
    assert ["the provider must renew it" in step for _, step, _ in told(living)] == [True]
    assert "the provider must renew it" in living("grants", "show", "a").out
    sql("update evergrant.valves set paused_until = now() + interval '1 h', pause_reason = 'tls_certificate'")
    assert ["the provider must renew it" in step for _, step, _ in told(living)] == [True, True]
    for ref in ("a", "b"):  # b has not failed: it is told of the valve alone
        assert "the provider must renew it" in living("explain", ref, "--json").json["remedy"]


def test_the_one_that_ends_is_named_and_one_that_has_ended_is_told_as_past(living: Evergrant, sql: Any) -> None:
    sql("update evergrant.grants set consent_expires_at = now() + interval '3 days' where ref = 'a'")
    ((what, step, human),) = told(living)
    assert what.startswith("the consent of a of temple will end unless somebody does something, at ")
    assert (step, human) == ("evergrant explain a --client temple", True)
    sql("update evergrant.grants set consent_expires_at = now() - interval '34 s' where ref = 'a'")
    ((what, _, _),) = told(living)
    assert what.startswith("the consent of a of temple has ended, at ")
    sql("update evergrant.grants set consent_expires_at = now() + interval '3 days' where ref = 'b'")
    ((what, step, _),) = told(living)
    assert what.startswith("2 grants have ended or will end unless somebody does something, the first ended at ")
    assert step == "evergrant grants list --expiring-within 14d"


def test_suspects_are_told_though_nobody_must_act_yet(living: Evergrant, sql: Any) -> None:
    sql("update evergrant.grants set suspect_at = '2026-01-02 14:02Z' where ref = 'a'")
    ((what, _, human),) = told(living)
    assert what.startswith("temple: 1 suspect since 2026-01-02T14:02:00Z")
    assert not human


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("seen_at = clock_timestamp() - interval '10 minutes'", "worker 1 on box was not heard of since"),
        ("environment = 'elsewhere'", "worker 1 on box runs as environment elsewhere"),
        ("refresh_key_ids = '{r0}'", "worker 1 on box: it lacks the key r1 of the refresh key ring"),
        ("access_key_ids = '{a0}'", "worker 1 on box: it lacks the key a1 of the access key ring"),
        ("fault = 'no space left on device'", "worker 1 on box cannot work: no space left on device"),
    ],
)
def test_what_is_wrong_with_one_process_is_told_of_it(living: Evergrant, sql: Any, change: str, says: str) -> None:
    sql(ALIVE, kind="worker", pid=7, environment=None, keys=["r1", "a1"])
    sql("update evergrant.processes set started_at = clock_timestamp() - interval '1 day'")
    sql(f"update evergrant.processes set {change} where pid = 1")  # noqa: S608  # constants
    found = [each for each in told(living) if each[0].startswith(says)]
    assert [human for _, _, human in found] == [True]
    assert living("status").code == 1


LAPSED = "1 access token lapsed although kept warm"


def test_a_token_that_lapsed_needs_a_human_where_nothing_tells_why(living: Evergrant, sql: Any) -> None:
    sql("update evergrant.grants set access_expires_at = now() - interval '1 minute' where ref = 'a'")
    assert [(what, human) for what, _, human in told(living)] == [(LAPSED, True)]

    sql("update evergrant.grants set suspect_at = '2026-01-02 14:02Z' where ref = 'b'")
    assert [(what.partition(" since")[0], human) for what, _, human in told(living)] == [
        ("temple: 1 suspect", False),
        (LAPSED, False),
    ]


def test_what_mends_itself_stands_below_what_needs_a_human(living: Evergrant, sql: Any) -> None:
    sql("update evergrant.grants set suspect_at = '2026-01-02 14:02Z' where ref = 'a'")
    sql("update evergrant.grants set status = 'needs_consent' where ref = 'b'")
    assert [human for _, _, human in told(living)] == [True, False]


def test_a_process_whose_place_another_has_taken_needs_nobody(living: Evergrant, sql: Any) -> None:
    sql("update evergrant.processes set seen_at = clock_timestamp() - interval '10 minutes' where pid = 1")
    sql(ALIVE, kind="worker", pid=7, environment=None, keys=["r1", "a1"])
    ((what, step, human),) = told(living)
    assert what.startswith("worker 1 on box was not heard of")
    assert ("taken its place" in step, human) == (True, False)


@pytest.fixture
def beat_here(living: Evergrant, sql: Any) -> Iterator[subprocess.Popen[bytes]]:
    """The only beat is a process of this machine, which lives and was not heard of for ten minutes."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "beat"]) as process:
        sql(
            "update evergrant.processes set host = :host, pid = :pid, started_at = now() - interval '1 day',"
            " seen_at = clock_timestamp() - interval '10 minutes' where kind = 'beat'",
            host=socket.gethostname(),
            pid=process.pid,
        )
        yield process
        process.kill()


def test_who_lives_here_and_is_not_heard_of_is_to_be_killed(
    living: Evergrant, sql: Any, beat_here: subprocess.Popen[bytes]
) -> None:
    pid = beat_here.pid
    end = f"kill {pid}; if it is still there after half a minute: kill -9 {pid}"
    kill = f"it hangs here: {end}; `evergrant up`, or the service manager, starts it again"
    assert [(step, human) for _, step, human in told(living)] == [(kill, True)] * 2  # no beat is alive, and this one
    found = living("doctor", "--json")
    assert kill in found.out
    sql("update evergrant.processes set kind = 'web' where kind = 'beat'")  # the pid is another's by now
    assert not any("kill" in step for _, step, _ in told(living))


def test_who_hangs_here_is_told_of_also_where_another_has_taken_its_place(
    living: Evergrant, sql: Any, beat_here: subprocess.Popen[bytes]
) -> None:
    sql(ALIVE, kind="beat", pid=7, environment=None, keys=[])
    sql("update evergrant.processes set host = :host where pid = 7", host=socket.gethostname())
    ((what, step, human),) = told(living)
    assert what.startswith(f"beat {beat_here.pid} on ")
    assert (f"kill -9 {beat_here.pid};" in step, human) == (True, True)


@pytest.mark.usefixtures("beat_here")
def test_nobody_is_to_be_killed_while_nobody_at_all_is_heard_of(living: Evergrant, sql: Any) -> None:
    sql("update evergrant.processes set seen_at = clock_timestamp() - interval '10 minutes'")
    steps = [step for _, step, _ in told(living)]
    assert "start `evergrant up` or `evergrant beat`" in steps
    assert not any("kill" in step for step in steps)


def test_a_web_needs_no_refresh_ring_and_a_beat_none_at_all(living: Evergrant, sql: Any) -> None:
    sql(ALIVE, kind="web", pid=8, environment=None, keys=["a1"])
    sql("update evergrant.processes set refresh_key_ids = '{}' where kind in ('web', 'beat')")
    assert told(living) == []


def test_a_shell_of_another_environment_is_told_so(living: Evergrant) -> None:
    here = settings.current()
    settings.adopt(here.model_copy(update={"environment": "elsewhere"}))
    assert f"export EVERGRANT_ENVIRONMENT={here.environment}" in [step for _, step, _ in told(living)]
    assert not any("copy" in what for what, _, _ in told(living))  # whoever adopts it from here stops everybody else
    settings.adopt(here)


def test_nothing_is_sealed_anew_while_a_living_process_lacks_the_key(living: Evergrant, sql: Any) -> None:
    here = settings.current()
    assert here.refresh_token_keys is not None
    ring = KeyRing.generate_line("r2") + "\n" + here.refresh_token_keys.get_secret_value()
    settings.adopt(here.model_copy(update={"refresh_token_keys": SecretStr(ring)}))
    before = sql("select sealed_refresh_token from evergrant.grants order by id")
    refused = living("keys", "reseal", "--json")
    assert (refused.code, refused.error) == (1, "key_not_everywhere")
    assert "worker 1 on box lacks the key r2" in refused.err
    assert sql("select sealed_refresh_token from evergrant.grants order by id") == before
    sql("update evergrant.processes set refresh_key_ids = '{r2,r1}' where kind = 'worker'")
    assert living("keys", "reseal", "--json").json["sealed"] > 0
    sql("update evergrant.processes set refresh_key_ids = '{r1}', seen_at = now() - interval '1 hour'")
    assert living("keys", "reseal").code == 0  # who is dead holds up nothing


def test_a_worker_that_waits_for_the_broker_is_not_to_be_started_once_more(living: Evergrant, sql: Any) -> None:
    sql("delete from evergrant.processes where kind = 'worker'")
    sql("update evergrant.processes set fault = 'the broker cannot be reached (queue:6379)' where kind = 'beat'")
    assert told(living)[0][:2] == (
        "no worker is alive: nothing is sent",
        "see to the broker first: a worker that starts waits for it, and is not heard of",
    )
