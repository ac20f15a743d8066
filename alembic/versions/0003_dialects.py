"""What a provider's own words and habits need."""

from pathlib import Path

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SQL = Path(__file__).with_name("0003_dialects.sql")


def upgrade() -> None:
    op.get_bind().connection.cursor().execute(SQL.read_text())
