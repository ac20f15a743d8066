"""The first tables, the functions for other applications, and the view."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

HERE = Path(__file__).parent


def upgrade() -> None:
    for name in ("0001_first.sql", "0001_functions.sql"):
        # The driver's own cursor: a colon in SQL is no bind parameter, and many statements go at once.
        op.get_bind().connection.cursor().execute((HERE / name).read_text())
