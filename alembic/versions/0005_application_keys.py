"""What keys of applications may do, for whose grants, and how long; and the shape of what may not be told."""

from pathlib import Path

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SQL = Path(__file__).with_name("0005_application_keys.sql")


def upgrade() -> None:
    op.get_bind().connection.cursor().execute(SQL.read_text())
