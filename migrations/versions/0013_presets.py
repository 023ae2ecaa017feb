"""Presets: the placements, pages, rules and segments of a space, with every version that they ever had."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

# Append-only: the version with the highest number is the current one. A NULL body deletes the preset. A change also
# increments `presets_version` of the space, by which servers notice it.
CHANGES = """
CREATE TABLE presets (
    space_key bigint NOT NULL REFERENCES spaces ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('placement', 'page', 'rule', 'segment')),
    name text NOT NULL,
    version integer NOT NULL,
    body jsonb,
    changed_at timestamptz NOT NULL DEFAULT now(),
    changed_by text NOT NULL,
    PRIMARY KEY (space_key, kind, name, version)
);
ALTER TABLE spaces ADD COLUMN presets_version bigint NOT NULL DEFAULT 0;
"""


def upgrade() -> None:
    op.execute(CHANGES)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only; restore a backup instead")
