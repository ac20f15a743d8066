"""What waits for somebody else's lock is a row."""

from pathlib import Path

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

SQL = Path(__file__).with_name("0009_locks.sql")


def upgrade() -> None:
    op.get_bind().connection.cursor().execute(SQL.read_text())
