"""What each process says of itself, and which keys a grant is sealed with."""

from pathlib import Path

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

SQL = Path(__file__).with_name("0010_processes.sql")


def upgrade() -> None:
    op.get_bind().connection.cursor().execute(SQL.read_text())
