"""A customer connects in a browser, by a ticket."""

from pathlib import Path

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

SQL = Path(__file__).with_name("0012_tickets.sql")


def upgrade() -> None:
    op.get_bind().connection.cursor().execute(SQL.read_text())
