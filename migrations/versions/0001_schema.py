"""The first schema: spaces, users, items, events, models, vectors, generations, change log, API keys."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE EXTENSION IF NOT EXISTS vector;

CREATE TABLE spaces (
    space_key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    weighting jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE users (
    user_key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    space_key bigint NOT NULL REFERENCES spaces ON DELETE CASCADE,
    user_id text NOT NULL,
    attributes jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (space_key, user_id)
);

CREATE TABLE items (
    item_key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    space_key bigint NOT NULL REFERENCES spaces ON DELETE CASCADE,
    item_id text NOT NULL,
    title text,
    categories text[] NOT NULL DEFAULT '{}',
    attributes jsonb NOT NULL DEFAULT '{}',
    available boolean NOT NULL DEFAULT true,
    deleted boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (space_key, item_id)
);

CREATE TABLE events (
    space_key bigint NOT NULL, -- implied by user_key and item_key; a foreign key of its own costs a bulk import a tenth
    event_id text NOT NULL,
    user_key bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    item_key bigint NOT NULL REFERENCES items ON DELETE CASCADE,
    kind text NOT NULL,
    value real NOT NULL,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_key, event_id)
);
CREATE INDEX events_of_user ON events (user_key, occurred_at DESC);
CREATE INDEX events_of_item ON events (item_key);

CREATE TABLE models (
    model_key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    space_key bigint NOT NULL REFERENCES spaces ON DELETE CASCADE,
    version integer NOT NULL,
    embedder text NOT NULL,
    params jsonb NOT NULL,
    metric text NOT NULL CHECK (metric IN ('cosine', 'dot')),
    dim integer NOT NULL,
    fold_in text NOT NULL,
    arrays bytea NOT NULL,
    evaluation jsonb NOT NULL,
    publishable boolean NOT NULL,
    n_items integer NOT NULL,
    n_users integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (space_key, version)
);
CREATE TABLE item_vectors (model_key bigint NOT NULL, item_key bigint NOT NULL, vector vector NOT NULL)
    PARTITION BY LIST (model_key);
CREATE TABLE user_vectors (model_key bigint NOT NULL, user_key bigint NOT NULL, vector vector NOT NULL)
    PARTITION BY LIST (model_key);

CREATE TABLE generations (
    space_key bigint NOT NULL REFERENCES spaces ON DELETE CASCADE,
    generation text NOT NULL,
    model integer NOT NULL,
    manifest jsonb NOT NULL,
    active boolean NOT NULL DEFAULT false,
    activated_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_key, generation)
);
CREATE UNIQUE INDEX one_active_generation ON generations (space_key) WHERE active;

CREATE TABLE change_log (
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    seq bigint GENERATED ALWAYS AS IDENTITY,
    space_key bigint NOT NULL,
    item_key bigint NOT NULL,
    PRIMARY KEY (xid, seq)
);

CREATE TABLE api_keys (
    key_id text PRIMARY KEY,
    hash bytea NOT NULL,
    scope text NOT NULL CHECK (scope IN ('read', 'write', 'admin')),
    space text,
    label text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);
"""

# Statement-level: one insert of ids per statement, for any number of rows.
TRIGGERS = """
CREATE FUNCTION log_changed_items() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO change_log (space_key, item_key) SELECT space_key, item_key FROM changed;
    RETURN NULL;
END $$;
CREATE TRIGGER items_inserted AFTER INSERT ON items REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION log_changed_items();
CREATE TRIGGER items_updated AFTER UPDATE ON items REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION log_changed_items();
CREATE TRIGGER items_deleted AFTER DELETE ON items REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION log_changed_items();
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(TRIGGERS)


def downgrade() -> None:
    raise NotImplementedError("the first schema is not taken back; drop the database instead")
