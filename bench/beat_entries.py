"""The Celery application of other beats, with an entry for each token; run as a program it makes the entries.

Its settings are in the environment: BENCH_KIND, BENCH_ENTRIES, BENCH_BROKER_URL, BENCH_DATABASE_URL,
BENCH_REDIS_URL.
"""

import os
from collections.abc import Iterator
from typing import Any

from celery import Celery
from celery.schedules import schedule

KIND = os.environ["BENCH_KIND"]
ENTRIES = int(os.environ["BENCH_ENTRIES"])
EVERY_SECONDS = 1
TASK = "refresh"

app = Celery("entries", broker=os.environ["BENCH_BROKER_URL"])
app.conf.update(beat_max_loop_interval=1, task_ignore_result=True)


def names() -> Iterator[str]:
    """One a token."""
    return (f"customer-{number:07d}" for number in range(ENTRIES))


match KIND:
    case "stock":
        app.conf.beat_schedule = {name: {"task": TASK, "schedule": EVERY_SECONDS, "args": (name,)} for name in names()}
    case "redbeat":
        app.conf.beat_scheduler = "redbeat.RedBeatScheduler"
        app.conf.redbeat_redis_url = f"{os.environ['BENCH_REDIS_URL']}?db=2"
        app.conf.redbeat_lock_key = None
    case "django":
        app.conf.beat_scheduler = "django_celery_beat.schedulers:DatabaseScheduler"
    case "sqlalchemy":
        app.conf.beat_scheduler = "sqlalchemy_celery_beat.schedulers:DatabaseScheduler"
        app.conf.beat_dburi = os.environ["BENCH_DATABASE_URL"]
        app.conf.beat_schema = None


def fill() -> None:
    """Make the entries where the beat keeps them."""
    match KIND:
        case "redbeat":
            _fill_redbeat()
        case "django":
            _fill_django()
        case "sqlalchemy":
            _fill_sqlalchemy()


def _fill_redbeat() -> None:
    from redbeat import RedBeatSchedulerEntry

    for name in names():
        RedBeatSchedulerEntry(name, TASK, schedule(EVERY_SECONDS), args=[name], app=app).save()


def _fill_django() -> None:
    import django  # type: ignore[import-untyped]
    from django.core.management import call_command  # type: ignore[import-untyped]

    django.setup()
    call_command("migrate", verbosity=0)
    from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks

    every, _ = IntervalSchedule.objects.get_or_create(every=EVERY_SECONDS, period="seconds")
    rows = [PeriodicTask(name=name, task=TASK, interval=every, args=f'["{name}"]') for name in names()]
    PeriodicTask.objects.bulk_create(rows, batch_size=1000)
    PeriodicTasks.update_changed()


def _fill_sqlalchemy() -> None:
    from sqlalchemy import insert
    from sqlalchemy_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTaskChanged
    from sqlalchemy_celery_beat.session import SessionManager

    manager: Any = SessionManager()
    engine, new_session = manager.create_session(os.environ["BENCH_DATABASE_URL"], schema=None)
    manager.prepare_models(engine, schema=None)
    with new_session() as session:
        every = IntervalSchedule(every=EVERY_SECONDS, period="seconds")
        session.add(every)
        session.flush()
        rows = [
            {
                "name": name,
                "task": TASK,
                "args": f'["{name}"]',
                "schedule_id": every.id,
                "discriminator": "intervalschedule",
            }
            for name in names()
        ]
        session.execute(insert(PeriodicTask), rows)
        PeriodicTaskChanged.update_from_session(session, commit=False)
        session.commit()


if __name__ == "__main__":
    fill()
