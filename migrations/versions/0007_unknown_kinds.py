"""Kinds that a space does not list weigh 0 instead of the former default of 1.

Built-in kinds that such a space did not list keep the weight 1, except for the negative kinds.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

CHANGES = """
UPDATE spaces SET weighting = weighting || jsonb_build_object(
    'other', 0,
    'kinds', '{"view": 1, "click": 1, "cart": 1, "like": 1, "purchase": 1, "return": -5, "dislike": -3}'::jsonb
        || (weighting -> 'kinds')
) WHERE (weighting ->> 'other')::float8 = 1
"""


def upgrade() -> None:
    op.execute(CHANGES)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only; restore a backup instead")
