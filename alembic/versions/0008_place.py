"""Where the data of an embedded database lie, so that a copy of the folder is found."""

from pathlib import Path

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

SQL = Path(__file__).with_name("0008_place.sql")


def upgrade() -> None:
    op.get_bind().connection.cursor().execute(SQL.read_text())
