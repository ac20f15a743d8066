"""Celery's settings: data only, each line with its reason (Celery 5.7 on Redis or Valkey)."""

from kombu import Exchange, Queue

# Names, not modules: nothing is imported upwards. Beat names tasks by string, too, and imports none of these.
imports = ("worker.service", "tasks.refresh", "tasks.revoke", "tasks.upkeep", "tasks.exchange")

# A queue for each kind of haste, no priorities: Redis emulates those by scanning further lists.
_exchange = Exchange("evergrant", type="direct")
task_queues = tuple(
    Queue(name, _exchange, routing_key=name) for name in ("refresh", "refresh_urgent", "revoke", "upkeep", "connect")
)
task_default_queue = "upkeep"
task_default_exchange = "evergrant"
task_default_routing_key = "upkeep"
# A misspelt queue is an error, not a new list that nobody reads.
task_create_missing_queues = False

broker_transport_options = {
    # What applications asked for and a killed worker had in hand comes back after this. Messages that name claims do
    # not: their leases lapse sooner (worker/broker.py).
    "visibility_timeout": 300,
    # Look for them every 10 s: by default only every tenth look scans, some 100 s.
    "unacked_restore_interval": 10,
    "unacked_restore_throttle": 1,
    # At one look: as many as anybody could write there would be read at once.
    "unacked_restore_limit": 1000,
    # The broker may be shared with other applications.
    "global_keyprefix": "evergrant:",
    # More than BRPOP's own wait, or each idle read looks like a dead connection.
    "socket_timeout": 30,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    # Finds a connection that a firewall forgot, before a task needs it.
    "health_check_interval": 25,
    # Never `retry_on_timeout`: it silently turns Producer.batch off.
}
# Redis may vanish at any moment, at the start as well, and for as long as it likes.
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
# Or answer and take no write, for its disk or its memory is full: Celery would end the worker ("Unrecoverable error").
broker_channel_error_retry = True

# Messages carry ids; JSON is all they need, and pickle would run what a stranger wrote into the broker.
task_serializer = "json"
accept_content = ["json"]
# Results live in PostgreSQL.
result_backend = None
task_ignore_result = True

# A message is acknowledged when its jobs are started, so a worker takes no more than it has threads for; one that is
# delivered twice finds no claim of its number.
task_acks_late = True
# A task that failed is not worth a repeat: its leases lapse, and the database says what is due.
task_acks_on_failure = True
task_acks_on_timeout = True
# Nor is one whose process died: at once and for ever, it might be what killed the process.
task_reject_on_worker_lost = False
# Threads take one message each; what is prefetched waits while other workers are idle.
worker_prefetch_multiplier = 1
# Celery 6 turns this on; a request in flight must not be aborted because the broker blinked.
worker_cancel_long_running_tasks_on_connection_loss = False
# Jobs wait on a loop thread, not in the pool. Prefork hangs now and then on SIGTERM under load (billiard's
# Pool.join); time limits do not exist with threads, so every wait of ours has a deadline of its own.
worker_pool = "threads"
worker_concurrency = 8
# Our logs are JSON lines; Celery would replace the handlers.
worker_hijack_root_logger = False
worker_redirect_stdouts = False
# Nobody consumes task events here; /metrics and the database tell more.
worker_send_task_events = False
# Whoever reaches the broker could shut a worker down, or have it consume nothing. Who lives is in the database.
worker_enable_remote_control = False
beat_enable_remote_control = False
# Without the talk between workers, which is another ear at the broker.
worker_consumer = "worker.consumer:Consumer"

# Due work is a column in PostgreSQL, so the schedule stays empty (measured: stock beat sends 7 messages a second
# with 100 000 entries).
beat_scheduler = "worker.beat:GrantScheduler"
beat_schedule: dict[str, object] = {}
beat_max_loop_interval = 1
timezone = "UTC"
