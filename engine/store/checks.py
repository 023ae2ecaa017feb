"""What `nearfield doctor` asks of the database."""

from __future__ import annotations

import sqlalchemy as sa

from engine.errors import NearfieldError
from engine.ids import AROUND
from engine.store import keys, migrations
from engine.store.database import Database

ALL_REVOKED = "each is revoked, so the server answers nobody; `nearfield keys create` makes one"
Check = tuple[str, bool, str]
OTHER_FORMS = """
SELECT noun, count(*), min(id), min(name) FROM (
    SELECT 'users' AS noun, space_key, user_id AS id FROM users
    UNION ALL SELECT 'items', space_key, item_id FROM items WHERE NOT deleted) AS ids JOIN spaces USING (space_key)
WHERE id <> normalize(btrim(id, %s), NFC) OR id ~ '^-?[0-9]+[.]0$' GROUP BY noun ORDER BY noun DESC
"""


def check_database(database: Database) -> list[Check]:
    """(name, ok, detail) of each check; a database that is away is one failed check."""
    try:
        with database.connect() as conn:
            version = conn.exec_driver_sql("SHOW server_version").scalar_one()
            pgvector = conn.exec_driver_sql("SELECT extversion FROM pg_extension WHERE extname = 'vector'").scalar()
            revision, head = migrations.current(conn), migrations.head()
            commit = conn.exec_driver_sql("SHOW synchronous_commit").scalar_one()
            live, made = keys.any_live(conn), keys.any_made(conn)
            ids = _check_ids(conn)
    except NearfieldError as error:
        return [("database", False, str(error))]
    return [
        ("database", True, f"PostgreSQL {version}, {'embedded' if database.embedded else 'by URL'}"),
        ("pgvector", pgvector is not None, pgvector or "not installed in this database"),
        ("schema", revision == head, f"at {revision}, expected {head}"),
        ("durability", commit == "on", f"synchronous_commit is {commit}; an acknowledged write survives only when on"),
        ids,
        ("api keys", True, "set" if live else ALL_REVOKED if made else "none yet; the server answers on loopback only"),
    ]


def _check_ids(conn: sa.Connection) -> Check:
    """Ids from before `ids.normal_id` was applied everywhere."""
    found = [
        f"{count:,} {noun} such as {id_!r} in space {name}"
        for noun, count, id_, name in conn.exec_driver_sql(OTHER_FORMS, (AROUND,))
    ]
    if not found:
        return "ids", True, "without white space around them, in Unicode's NFC"
    return "ids", False, f"not in the form that requests ask for: {'; '.join(found)}; write them again and delete these"
