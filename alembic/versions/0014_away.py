"""Whether somebody is at a provider is found without a look at everybody who was within the day."""

from pathlib import Path

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

SQL = Path(__file__).with_name("0014_away.sql")


def upgrade() -> None:
    op.get_bind().connection.cursor().execute(SQL.read_text())
