"""Feature records of items, and the codec of a model that was made from them."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# `numbers` is little-endian float64, one per column of the schema; all records of a space have the same length.
CHANGES = """
CREATE TABLE feature_schemas (
    space_key bigint PRIMARY KEY REFERENCES spaces ON DELETE CASCADE,
    columns jsonb NOT NULL,
    labels jsonb NOT NULL
);
CREATE TABLE item_features (
    space_key bigint NOT NULL,
    item_key bigint PRIMARY KEY REFERENCES items ON DELETE CASCADE,
    label integer NOT NULL,
    numbers bytea NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX item_features_of_space ON item_features (space_key);
ALTER TABLE models ADD COLUMN codec text, ADD COLUMN codec_arrays bytea,
    ADD CHECK ((codec IS NULL) = (codec_arrays IS NULL));
"""


def upgrade() -> None:
    op.execute(CHANGES)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only; restore a backup instead")
