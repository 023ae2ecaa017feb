"""Served shelves: the requests of the last days and the items that answered them, in one partition a day."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

# Dry runs repeat the requests; `impressed` and `rotation` read the items that a user was shown. Partitions are made by
# the process that writes and dropped when they are older than the retention. User ids are text, because a shelf can be
# served to a visitor who has no row in `users`.
CHANGES = """
CREATE TABLE served_shelves (
    space_key bigint NOT NULL,
    served_at timestamptz NOT NULL,
    recommendation_id text NOT NULL,
    user_id text,
    session_id text,
    placement text,
    request jsonb NOT NULL,
    item_ids text[] NOT NULL
) PARTITION BY RANGE (served_at);
CREATE INDEX served_to_user ON served_shelves (space_key, user_id, served_at DESC) WHERE user_id IS NOT NULL;
CREATE INDEX served_in_space ON served_shelves (space_key, served_at DESC);
"""


def upgrade() -> None:
    op.execute(CHANGES)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only; restore a backup instead")
