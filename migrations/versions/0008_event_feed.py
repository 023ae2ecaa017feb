"""The transaction that wrote an event, so that events after a snapshot are found without a scan of all events."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# Existing rows keep NULL, which is older than any later snapshot: the table is neither rewritten nor indexed.
CHANGES = """
ALTER TABLE events ADD COLUMN xid xid8;
ALTER TABLE events ALTER COLUMN xid SET DEFAULT pg_current_xact_id();
CREATE INDEX events_since ON events (space_key, xid) WHERE xid IS NOT NULL;
"""


def upgrade() -> None:
    op.execute(CHANGES)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only; restore a backup instead")
