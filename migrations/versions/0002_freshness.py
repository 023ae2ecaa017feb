"""Item vectors supplied by the caller, and the start of the change log after it was pruned."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# A vector is valid in the latent space of one model version only; other versions do not use it.
CHANGES = """
ALTER TABLE items ADD COLUMN vector vector, ADD COLUMN vector_model integer,
    ADD CHECK ((vector IS NULL) = (vector_model IS NULL));
CREATE TABLE change_log_start (xid xid8 NOT NULL);
INSERT INTO change_log_start VALUES ('0');
CREATE UNIQUE INDEX one_change_log_start ON change_log_start ((true));
"""


def upgrade() -> None:
    op.execute(CHANGES)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only; restore a backup instead")
