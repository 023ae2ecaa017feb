"""Items that a file replacing the catalogue no longer contains are marked as withdrawn."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# A `withdrawn` item is hidden for that reason only: the next file that contains it makes it available again. A later
# explicit availability overrides this.
CHANGES = "ALTER TABLE items ADD COLUMN withdrawn boolean NOT NULL DEFAULT false"


def upgrade() -> None:
    op.execute(CHANGES)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only; restore a backup instead")
