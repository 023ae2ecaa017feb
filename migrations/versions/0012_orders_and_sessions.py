"""Events carry the order and the session that they belong to."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

CHANGES = """
ALTER TABLE events ADD COLUMN order_id text;
ALTER TABLE events ADD COLUMN session_id text;
"""


def upgrade() -> None:
    op.execute(CHANGES)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only; restore a backup instead")
