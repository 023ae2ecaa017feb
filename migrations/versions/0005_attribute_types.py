"""The types of attributes are stored per space."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

CHANGES = """
CREATE TABLE attribute_types (
    space_key bigint NOT NULL REFERENCES spaces ON DELETE CASCADE,
    subject text NOT NULL CHECK (subject IN ('item', 'user')),
    types jsonb NOT NULL,
    PRIMARY KEY (space_key, subject)
);
"""


def upgrade() -> None:
    op.execute(CHANGES)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only; restore a backup instead")
