"""Columns that tell whose fault a refusal is."""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SQL = Path(__file__).with_name("0002_refusals.sql")


def upgrade() -> None:
    op.get_bind().connection.cursor().execute(SQL.read_text())
