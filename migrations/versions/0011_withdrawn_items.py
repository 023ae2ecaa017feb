"""An item knows that a file which replaced the catalogue had it no more."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# `withdrawn`: hidden for that reason alone, so the next file that has it brings it back. Whoever says whether it is
# available after that decides.
CHANGES = "ALTER TABLE items ADD COLUMN withdrawn boolean NOT NULL DEFAULT false"


def upgrade() -> None:
    op.execute(CHANGES)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only; restore a backup instead")
