"""Roles: who may do what in the schema, as statements that any owner of the schema may run.

The five are groups without a login; a DBA grants one to the login of each process or application. An application may
have a role of its own instead, which sees the grants of some clients alone (models/application_role.py has its table).
"""

from collections.abc import Sequence

from sqlalchemy import Connection

from models.client import Client
from models.errors import NotTheOwner
from models.grant import Grant
from models.webhook import Webhook

ROLES = ("evergrant_worker", "evergrant_web", "evergrant_requester", "evergrant_reader", "evergrant_admin")

READ = "select"
CHANGE = "select, update"
WORK = "select, insert, update, delete"
ADD = "select, insert"
# Of a client a worker changes only which of its secrets is used, and its profile where answers contradict it.
LEARNT = (
    "sealed_client_secret, sealed_former_secret, former_secret_at, secret_refused_at, secret_refused_code, "
    "credentials_no, drift, drift_watch, overrides, rotation, burst, attempt_lease, grace, after_grace, updated_at"
)
# What the fleet page tells of a pair that was replaced: nothing of what it was.
FORMER_DATES = "select (id, grant_id, kind, generation, access_expires_at, stored_at, tried_at, known_dead_at)"


def _without_secrets(model: type[Client | Grant | Webhook]) -> str:
    """Every column of a table but the sealed ones."""
    names = [column.name for column in model.__table__.columns if not column.name.startswith("sealed_")]
    return f"select ({', '.join(names)})"


# What worker and beat, and the web process, may do with each table. The operator may do all that the commands do; an
# application has no table at all. `None`: nothing. A table that is missing here is an error of the tests.
TABLES: dict[str, tuple[str | None, str | None]] = {
    "alembic_version": (READ, READ),
    "installation": (CHANGE, f"{READ}, update (public_url, public_url_seen_at)"),
    "clients": (f"{READ}, update ({LEARNT})", _without_secrets(Client)),
    "valves": (CHANGE, READ),
    "witnesses": (WORK, READ),
    "grants": (WORK, _without_secrets(Grant)),
    "former_tokens": (WORK, FORMER_DATES),
    "refresh_requests": (WORK, READ),
    "waiting_requests": (WORK, None),
    "revocations": (WORK, READ),
    "erasures": (WORK, READ),
    "held_revocations": (WORK, READ),
    "revocation_asks": ("select, delete", None),
    "application_roles": (None, None),
    "dead_letters": (WORK, READ),
    "events": (ADD, READ),
    "journals": (WORK, READ),
    "processes": (WORK, WORK),
    "chores": (CHANGE, READ),
    "applications": (None, READ),
    "application_clients": (None, READ),
    "application_keys": (None, f"{READ}, update (used_at)"),
    "connect_requests": (WORK, "select, insert, update"),
    "tickets": (WORK, "select, insert, update"),
    "visits": (WORK, "select, insert, update"),
    "grant_accounts": (WORK, None),
    "ticks": (WORK, None),
    "asked_labels": (WORK, None),
    "webhooks": (CHANGE, _without_secrets(Webhook)),
    "webhook_deliveries": (WORK, READ),
    "notices": (WORK, "insert, select (id, client_id, received_at)"),
}
VIEW = "evergrant.access_tokens"
CONNECT_URL = "evergrant.connect_url(text)"
REQUESTS = (
    "evergrant.request_refresh(text, text, bigint)",
    "evergrant.request_revocation(text, text, text, text, boolean, boolean)",
)
# Who makes a link may have another account take a ref's place: no role of before may, but one that was given it.
LINKS = ("evergrant.request_connect(text, text, text, jsonb, text[], text)", CONNECT_URL)
# A ticket by an operator, who may say more; and whether users may be sent back to where they shall.
MAKE_TICKET = "evergrant.make_ticket(bigint, text, text, jsonb, text[], text, boolean, text)"
IS_RETURN_TO = "evergrant.is_return_to(text, text[])"
# Which keys a grant is sealed with, for whoever may not read what is sealed.
KEY_IDS = "evergrant.key_ids_of_grant(uuid)"
# Events are added to; what an erasure takes out of them goes through here.
FORGET_EVENTS = "evergrant.forget_events(uuid[])"
# What a worker asks when it queues what a webhook has missed.
OF_WEBHOOKS = (
    "evergrant.told_of_itself(text)",
    "evergrant.is_told(evergrant.webhooks, text, bigint, jsonb)",
    "evergrant.subject_of(bigint, text, bigint, uuid)",
)

OWNED = "select pg_has_role(nspowner, 'usage') from pg_namespace where nspname = 'evergrant'"

# Another session may make the role at the same moment: roles belong to the whole cluster.
CREATE = """do $$ begin
    if to_regrole('{role}') is null then create role {role} nologin; end if;
exception when duplicate_object or unique_violation then null;
end $$"""


def statements() -> list[str]:
    """Every statement that makes the roles and leaves each exactly what it needs, in order."""
    return [statement for role in ROLES for statement in _of(role)]


def apply(connection: Connection) -> None:
    """Make the roles and their rights so, in the caller's transaction; raises as `carry_out`."""
    carry_out(connection, statements())


def carry_out(connection: Connection, statements: Sequence[str]) -> None:
    """Carry out what only the owner of the schema may.

    Raises:
        NotTheOwner: PostgreSQL would merely warn that nothing was granted.

    """
    if not connection.exec_driver_sql(OWNED).scalar_one():
        raise NotTheOwner
    for statement in statements:
        connection.exec_driver_sql(statement)


def _of(role: str) -> list[str]:
    return [
        CREATE.format(role=role),
        f"revoke all on all tables in schema evergrant from {role}",
        f"revoke all on all functions in schema evergrant from {role}",
        f"grant usage on schema evergrant to {role}",
        *_on_tables(role),
        *_on_surface(role),
    ]


def _on_tables(role: str) -> list[str]:
    by_right: dict[str, list[str]] = {}
    for table, (worker, web) in TABLES.items():
        right = {"evergrant_worker": worker, "evergrant_web": web, "evergrant_admin": _operator(table)}.get(role)
        if right:
            by_right.setdefault(right, []).append(f"evergrant.{table}")
    made = [f"grant {right} on {', '.join(tables)} to {role}" for right, tables in by_right.items()]
    if by_right and role != "evergrant_web":
        # A new journal is numbered above all that are on the disk, whatever a restored sequence says.
        made.append(f"grant select, update on sequence evergrant.journals_id_seq to {role}")
    return made


def _operator(table: str) -> str:
    # Whoever upgrades owns the schema; that is more than the operator of a running fleet needs.
    return {"alembic_version": READ, "events": ADD}.get(table, WORK)


def _on_surface(role: str) -> list[str]:
    made = []
    if role in ("evergrant_reader", "evergrant_web", "evergrant_admin"):
        made.append(f"grant select on {VIEW} to {role}")
    if role in ("evergrant_web", "evergrant_admin"):
        made.append(f"grant execute on function {KEY_IDS}, {IS_RETURN_TO} to {role}")
    if role == "evergrant_admin":
        made.append(f"grant execute on function {MAKE_TICKET} to {role}")
    if role != "evergrant_reader":
        functions = REQUESTS if role == "evergrant_requester" else (*REQUESTS, *LINKS)
        made.append(f"grant execute on function {', '.join(functions)} to {role}")
    if role in ("evergrant_worker", "evergrant_admin"):
        made.append(f"grant execute on function {', '.join((FORGET_EVENTS, *OF_WEBHOOKS))} to {role}")
    return made
