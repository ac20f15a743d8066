"""Logins of an embedded database: worker, beat and web come in under the roles that they have elsewhere, too.

The superuser's login is left to `evergrant up` itself and to the operator's commands.
"""

import secrets
from typing import TYPE_CHECKING

from psycopg import sql

from models.states.process import ProcessKind
from worker.embedded.home import write_private

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from worker.embedded.postgres import Postgres

GROUPS = {ProcessKind.WORKER: "evergrant_worker", ProcessKind.WEB: "evergrant_web"}  # beat comes in as a worker does

CREATE = """do $$ begin
    if to_regrole({text}) is null then create role {name} login; end if;
end $$"""


def make(connection: "Connection", postgres: "Postgres") -> dict[str, str]:
    """Make the roles and a login in each, with a new password at each start; returns their URLs by kind of process."""
    from models import roles

    roles.apply(connection)
    cursor = connection.connection.cursor()
    urls: dict[str, str] = {}
    for kind, group in GROUPS.items():
        name, password = f"evergrant_up_{kind}", secrets.token_urlsafe(32)
        names = {"name": sql.Identifier(name), "group": sql.Identifier(group), "text": sql.Literal(name)}
        cursor.execute(sql.SQL(CREATE).format(**names))
        cursor.execute(sql.SQL("grant {group} to {name}").format(**names))
        cursor.execute(sql.SQL("alter role {name} password {password}").format(password=password, **names))
        passfile = postgres.passfile_of(kind)
        write_private(passfile, f"*:*:*:{name}:{password}\n")
        urls[kind] = postgres.url_as(name, passfile)
    return urls
