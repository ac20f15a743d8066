"""Whether the public listener is served is told again and again, and how visits ended is found by when."""

from pathlib import Path

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

SQL = Path(__file__).with_name("0013_served.sql")


def upgrade() -> None:
    op.get_bind().connection.cursor().execute(SQL.read_text())
