"""Erased users as keyed hashes, which keep an erased id from returning; and the users merged into a user."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# `pads` is the secret of a space as HMAC uses it: xor 0x36 for the inner hash, then xor 0x5c for the outer one.
CHANGES = """
CREATE TABLE erasure_secrets (
    space_key bigint PRIMARY KEY REFERENCES spaces ON DELETE CASCADE,
    pads bytea NOT NULL CHECK (length(pads) = 128)
);
CREATE TABLE erased_users (
    space_key bigint NOT NULL REFERENCES spaces ON DELETE CASCADE,
    hash bytea NOT NULL,
    erased_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_key, hash)
);
CREATE TABLE merged_users (
    user_key bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    user_id text NOT NULL,
    PRIMARY KEY (user_key, user_id)
);
"""


def upgrade() -> None:
    op.execute(CHANGES)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only; restore a backup instead")
