"""The migrations, run from code: beside this package in a wheel, in `alembic/` in a checkout."""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text

from models import database
from models.errors import NewerDatabase, NotUpgraded

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection, Engine

HERE = Path(__file__).resolve().parent
# The newest revision. Every command compares it with the database's, and alembic costs 7 MB and 60 ms: a test compares.
HEAD = "0014"


def config() -> "Config":
    """Alembic's configuration, without an ini file."""
    from alembic.config import Config

    inside = HERE / "_migrations"
    made = Config()
    made.set_main_option("script_location", str(inside if inside.is_dir() else HERE.parent / "alembic"))
    return made


def current(connection: "Connection") -> str | None:
    """The revision of the database, None where nothing was ever upgraded."""
    if connection.execute(text("select to_regclass('evergrant.alembic_version')")).scalar() is None:
        return None
    return connection.execute(text("select version_num from evergrant.alembic_version")).scalar()


def upgrade(url: str | None = None) -> None:
    """Bring the database to the newest revision; an advisory lock lets only one process do it.

    Raises:
        NewerDatabase: a newer release was here.

    """
    from alembic import command

    engine = database.connect(url) if url else database.engine()
    try:
        _refuse_newer(engine)
        made = config()
        made.attributes["engine"] = engine
        command.upgrade(made, "head")
    finally:
        if url:
            engine.dispose()


def require(connection: "Connection") -> None:
    """Check that this release and the database fit.

    Raises:
        NotUpgraded: `evergrant db upgrade` was not run yet.
        NewerDatabase: a newer release was here.

    """
    if (revision := newer(connection)) is not None:
        raise NewerDatabase(revision)


def newer(connection: "Connection") -> str | None:
    """The revision of a database that a newer release has upgraded; None: it is our own.

    Processes may work in one that the next release has upgraded, for its migrations fit the release before: that is
    how a rolling upgrade begins, and how it is taken back.

    Raises:
        NotUpgraded: `evergrant db upgrade` was not run yet.

    """
    revision = current(connection)
    if revision == HEAD:
        return None
    if revision is None or _known(revision):
        raise NotUpgraded
    return revision


def _refuse_newer(engine: "Engine") -> None:
    with engine.connect() as connection:
        revision = current(connection)
    if revision is not None and not _known(revision):
        raise NewerDatabase(revision)


def _known(revision: str) -> bool:
    from alembic.script import ScriptDirectory

    return revision in {script.revision for script in ScriptDirectory.from_config(config()).walk_revisions()}
