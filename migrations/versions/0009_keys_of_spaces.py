"""An API key belongs to a space, not to its name: a key of a deleted space does not open a new space of that name."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# `space` stays as the displayed name. A key older than the space with its name was made for another space.
CHANGES = """
ALTER TABLE api_keys ADD COLUMN space_key bigint;
UPDATE api_keys SET space_key = spaces.space_key FROM spaces
    WHERE spaces.name = api_keys.space AND spaces.created_at <= api_keys.created_at;
UPDATE api_keys SET revoked_at = now() WHERE space IS NOT NULL AND space_key IS NULL AND revoked_at IS NULL;
ALTER TABLE api_keys ADD CHECK (space IS NULL OR space_key IS NOT NULL OR revoked_at IS NOT NULL);
"""


def upgrade() -> None:
    op.execute(CHANGES)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only; restore a backup instead")
