"""The number of events rejected for a time in the future: with a server clock that is behind, all events."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

CHANGES = """
CREATE TABLE future_events (
    space_key bigint PRIMARY KEY REFERENCES spaces ON DELETE CASCADE,
    refused bigint NOT NULL,
    farthest timestamptz NOT NULL,
    last_at timestamptz NOT NULL
);
"""


def upgrade() -> None:
    op.execute(CHANGES)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only; restore a backup instead")
