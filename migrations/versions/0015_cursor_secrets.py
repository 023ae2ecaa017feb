"""A secret of each space, with which its servers sign cursors."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

# 244 random bits of two version 4 UUIDs. The default is volatile, so every existing space gets a secret of its own.
CHANGES = """
ALTER TABLE spaces ADD COLUMN cursor_secret bytea NOT NULL
    DEFAULT uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid());
"""


def upgrade() -> None:
    op.execute(CHANGES)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only; restore a backup instead")
