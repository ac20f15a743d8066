"""What the provider's API is asked for once a user has consented."""

from pathlib import Path

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SQL = Path(__file__).with_name("0004_asked_labels.sql")


def upgrade() -> None:
    op.get_bind().connection.cursor().execute(SQL.read_text())
