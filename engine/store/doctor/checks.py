"""What `nearfield doctor` asks of the database."""

from __future__ import annotations

import sqlalchemy as sa

from engine.errors import NearfieldError
from engine.store import api_keys
from engine.store.database import migrations
from engine.store.database.connections import Database
from engine.store.doctor import id_normalization
from engine.store.doctor.id_normalization import OtherForm

ALL_REVOKED = "each is revoked, so the server answers nobody; `nearfield keys create` makes one"
Check = tuple[str, bool, str]


def check_database(database: Database) -> list[Check]:
    """(name, ok, detail) of each check; a database that is away is one failed check."""
    try:
        with database.connect() as conn:
            version = conn.exec_driver_sql("SHOW server_version").scalar_one()
            pgvector = conn.exec_driver_sql("SELECT extversion FROM pg_extension WHERE extname = 'vector'").scalar()
            revision, head = migrations.current(conn), migrations.head()
            commit = conn.exec_driver_sql("SHOW synchronous_commit").scalar_one()
            live, made = api_keys.any_live(conn), api_keys.any_made(conn)
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
    """Ids from before there was one form."""
    first: dict[str, OtherForm] = {}
    found = id_normalization.find(conn)
    for each in found:
        first.setdefault(each.noun, each)
    if not found:
        return "ids", True, "without white space around them, in Unicode's NFC"
    told = [
        f"{sum(each.noun == noun for each in found):,} {noun} such as {one.id_!r} in space {one.space}"
        for noun, one in first.items()
    ]
    what = f"not in the form that requests and files ask for: {'; '.join(told)}"
    return "ids", False, f"{what}; `nearfield doctor --mend-ids` makes them one with those that are"
