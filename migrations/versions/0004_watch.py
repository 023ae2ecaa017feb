"""Monitoring of a model version: drift reports of recent records, and its 2-D map."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

CHANGES = """
CREATE TABLE drift_reports (
    model_key bigint NOT NULL REFERENCES models ON DELETE CASCADE,
    made_at timestamptz NOT NULL DEFAULT now(),
    report jsonb NOT NULL,
    PRIMARY KEY (model_key, made_at)
);
CREATE TABLE maps (
    model_key bigint NOT NULL REFERENCES models ON DELETE CASCADE,
    method text NOT NULL,
    points jsonb NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (model_key, method)
);
"""


def upgrade() -> None:
    op.execute(CHANGES)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only; restore a backup instead")
