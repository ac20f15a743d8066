"""What of a journal cannot be read."""

from pathlib import Path

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SQL = Path(__file__).with_name("0007_journals.sql")


def upgrade() -> None:
    op.get_bind().connection.cursor().execute(SQL.read_text())
