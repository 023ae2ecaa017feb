"""Which transaction wrote an event, so that what came since a snapshot is found without a look at all events."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# What is there already stays NULL, older than any snapshot to come: so the table is not written anew, nor indexed.
CHANGES = """
ALTER TABLE events ADD COLUMN xid xid8;
ALTER TABLE events ALTER COLUMN xid SET DEFAULT pg_current_xact_id();
CREATE INDEX events_since ON events (space_key, xid) WHERE xid IS NOT NULL;
"""


def upgrade() -> None:
    op.execute(CHANGES)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only; restore a backup instead")
