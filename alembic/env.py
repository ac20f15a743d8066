"""Run the migrations online: one at a time, under lock and statement time-outs, in our own schema."""

from alembic import context
from sqlalchemy import Connection, text

import models.tables  # noqa: F401  # fills the metadata
from models import database
from models.base import SCHEMA, Base

# Any fixed number: "evergrant" in base 36, cut to 63 bits. Two releases that upgrade at once take turns.
ADVISORY_LOCK = 0x65766572677261


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        version_table_schema=SCHEMA,
        include_schemas=True,
        include_name=lambda name, kind, _parents: kind != "schema" or name == SCHEMA,
        compare_type=True,
        compare_server_default=False,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def main() -> None:
    engine = context.config.attributes.get("engine") or database.engine()
    with engine.connect() as connection:
        connection.execute(text("set lock_timeout = '5s'; set statement_timeout = '10min'"))
        connection.execute(text("select pg_advisory_lock(:key)"), {"key": ADVISORY_LOCK})
        connection.execute(text(f"create schema if not exists {SCHEMA}"))
        connection.commit()
        try:
            run(connection)
        finally:
            connection.rollback()
            connection.execute(text("select pg_advisory_unlock(:key)"), {"key": ADVISORY_LOCK})
            connection.commit()


main()
