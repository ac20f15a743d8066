"""Each setting that our promises hang on is in force on the real application, as `celery -A worker …` finds it."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import celeryconfig

PROJECT = Path(__file__).parents[2]
PROGRAM = textwrap.dedent("""
    import json
    from celery.app.utils import find_app
    from celery.utils.imports import symbol_by_name

    app = find_app("worker")
    conf = app.conf
    found = {name: getattr(conf, name) for name in conf.keys() if name.islower()}
    found["queues"] = sorted(app.amqp.queues)
    found["exchanges"] = sorted({(q.exchange.name, q.routing_key) for q in app.amqp.queues.values()})
    found["scheduler"] = symbol_by_name(conf.beat_scheduler).__name__
    app.loader.import_default_modules()
    found["tasks"] = sorted(name for name in app.tasks if name.startswith("evergrant."))
    found["own"] = {
        name: [app.tasks[name].acks_late, app.tasks[name].ignore_result, app.tasks[name].max_retries,
               app.tasks[name].time_limit, app.tasks[name].soft_time_limit,
               bool(getattr(app.tasks[name], "autoretry_for", ()))]
        for name in found["tasks"]
    }
    with app.connection_for_write() as connection:
        found["transport"] = connection.transport_cls
        found["connection"] = connection.transport_options
    print(json.dumps(found, default=str))
""")


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("EVERGRANT_", "CELERY_"))}
    environment |= {
        "EVERGRANT_HOME": str(tmp_path_factory.mktemp("home")),
        "EVERGRANT_DATABASE_URL": "postgresql://127.0.0.1:1/none",
        "EVERGRANT_BROKER_URL": "redis://127.0.0.1:1/5",
        "EVERGRANT_CONCURRENCY": "11",
    }
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


IN_FORCE: list[tuple[str, Any]] = [
    ("broker_url", "redis://127.0.0.1:1/5"),
    ("broker_connection_retry_on_startup", True),
    ("broker_connection_max_retries", None),
    ("task_serializer", "json"),
    ("accept_content", ["json"]),
    ("result_backend", None),
    ("task_ignore_result", True),
    ("task_acks_late", True),
    ("task_acks_on_failure", True),
    ("task_acks_on_timeout", True),
    ("task_reject_on_worker_lost", False),
    ("task_create_missing_queues", False),
    ("task_default_queue", "upkeep"),
    ("task_queue_max_priority", None),
    ("worker_prefetch_multiplier", 1),
    ("worker_cancel_long_running_tasks_on_connection_loss", False),
    ("worker_pool", "threads"),
    ("worker_concurrency", 11),
    ("worker_hijack_root_logger", False),
    ("task_time_limit", None),
    ("task_soft_time_limit", None),
    ("beat_schedule", {}),
    ("beat_scheduler", "worker.beat:GrantScheduler"),
    ("beat_max_loop_interval", 1),
    ("worker_enable_remote_control", False),
    ("beat_enable_remote_control", False),
    ("worker_consumer", "worker.consumer:Consumer"),
    ("timezone", "UTC"),
    ("scheduler", "GrantScheduler"),
    ("queues", ["connect", "refresh", "refresh_urgent", "revoke", "upkeep"]),
]


@pytest.mark.parametrize(("name", "value"), IN_FORCE, ids=[name for name, _ in IN_FORCE])
def test_the_setting_is_in_force(conf: dict[str, Any], name: str, value: object) -> None:
    assert conf[name] == value


TRANSPORT = {
    "visibility_timeout": 300,
    "unacked_restore_interval": 10,
    "unacked_restore_throttle": 1,
    "unacked_restore_limit": 1000,
    "global_keyprefix": "evergrant:",
    "socket_timeout": 30,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 25,
}


@pytest.mark.parametrize(("name", "value"), TRANSPORT.items())
def test_the_transport_option_reaches_the_connection(conf: dict[str, Any], name: str, value: object) -> None:
    assert conf["connection"][name] == value


def test_nothing_is_retried_behind_the_back_of_a_batch(conf: dict[str, Any]) -> None:
    assert "retry_on_timeout" not in conf["connection"]


def test_each_queue_has_its_own_key_of_one_exchange(conf: dict[str, Any]) -> None:
    names = ["connect", "refresh", "refresh_urgent", "revoke", "upkeep"]
    assert conf["exchanges"] == [["evergrant", name] for name in names]


def test_no_task_of_ours_is_retried_limited_or_answered_by_celery(conf: dict[str, Any]) -> None:
    assert {"evergrant.refresh", "evergrant.revoke", "evergrant.upkeep"} <= set(conf["tasks"])
    for name, (acks_late, ignore_result, _, time_limit, soft_time_limit, autoretry) in conf["own"].items():
        assert (name, acks_late, ignore_result, time_limit, soft_time_limit, autoretry) == (
            *(name, True, True),
            *(None, None, False),
        )


def test_the_module_names_task_modules_by_string_and_imports_nothing_of_ours() -> None:
    assert all(isinstance(name, str) for name in celeryconfig.imports)
    assert not {"settings", "worker", "tasks", "models"} & vars(celeryconfig).keys()


def test_no_task_calls_itself_again_or_sets_a_time() -> None:
    """An ETA beyond the visibility time-out multiplies messages; waiting lives in `due_at`."""
    sources = [path.read_text() for path in [*(PROJECT / "tasks").rglob("*.py"), *(PROJECT / "worker").glob("*.py")]]

    for forbidden in ("countdown=", "eta=", "autoretry_for", ".retry(", "task_always_eager", "time_limit="):
        assert not [source for source in sources if forbidden in source], forbidden
