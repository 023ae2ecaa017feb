"""What `nearfield doctor` asks of the database."""

from __future__ import annotations

from engine.errors import NearfieldError
from engine.store import keys, migrations
from engine.store.database import Database

Check = tuple[str, bool, str]


def check_database(database: Database) -> list[Check]:
    """(name, ok, detail) of each check; a database that is away is one failed check."""
    try:
        with database.connect() as conn:
            version = conn.exec_driver_sql("SHOW server_version").scalar_one()
            pgvector = conn.exec_driver_sql("SELECT extversion FROM pg_extension WHERE extname = 'vector'").scalar()
            revision, head = migrations.current(conn), migrations.head()
            commit = conn.exec_driver_sql("SHOW synchronous_commit").scalar_one()
            live = keys.any_live(conn)
    except NearfieldError as error:
        return [("database", False, str(error))]
    return [
        ("database", True, f"PostgreSQL {version}, {'embedded' if database.embedded else 'by URL'}"),
        ("pgvector", pgvector is not None, pgvector or "not installed in this database"),
        ("schema", revision == head, f"at {revision}, expected {head}"),
        ("durability", commit == "on", f"synchronous_commit is {commit}; an acknowledged write survives only when on"),
        ("api keys", True, "set" if live else "none yet; the server answers on loopback only"),
    ]
