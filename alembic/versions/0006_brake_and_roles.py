"""A brake on revocations, and a role for each application."""

from pathlib import Path

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SQL = Path(__file__).with_name("0006_brake_and_roles.sql")


def upgrade() -> None:
    op.get_bind().connection.cursor().execute(SQL.read_text())
