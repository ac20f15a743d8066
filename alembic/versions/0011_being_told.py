"""Applications are told what happens."""

from pathlib import Path

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

SQL = Path(__file__).with_name("0011_being_told.sql")


def upgrade() -> None:
    op.get_bind().connection.cursor().execute(SQL.read_text())
