"""The database checks of `nearfield doctor`: version, pgvector, schema, durability, ids, API keys."""

from __future__ import annotations

import sqlalchemy as sa

from engine.errors import NearfieldError
from engine.store import api_keys
from engine.store.database import migrations
from engine.store.database.connections import Database
from engine.store.doctor import id_normalisation
from engine.store.doctor.id_normalisation import UnnormalisedId

ALL_REVOKED = "all keys are revoked, so the server refuses every request; create one with `nearfield keys create`"
Check = tuple[str, bool, str]


def check_database(database: Database) -> list[Check]:
    """(name, ok, detail) of each check; an unreachable database is one failed check."""
    try:
        with database.connect() as conn:
            version = conn.exec_driver_sql("SHOW server_version").scalar_one()
            pgvector = conn.exec_driver_sql("SELECT extversion FROM pg_extension WHERE extname = 'vector'").scalar()
            revision, head = migrations.current(conn), migrations.head()
            commit = conn.exec_driver_sql("SHOW synchronous_commit").scalar_one()
            any_live, any_created = api_keys.any_live(conn), api_keys.any_created(conn)
            ids = _check_ids(conn)
    except NearfieldError as error:
        return [("database", False, str(error))]
    return [
        ("database", True, f"PostgreSQL {version}, {'embedded' if database.embedded else 'by URL'}"),
        ("pgvector", pgvector is not None, pgvector or "not installed in this database"),
        ("schema", revision == head, f"at {revision}, expected {head}"),
        (
            "durability",
            commit == "on",
            f"synchronous_commit is {commit}; an acknowledged write survives a crash only when it is on",
        ),
        ids,
        (
            "api keys",
            True,
            "set" if any_live else ALL_REVOKED if any_created else "none yet; the server answers on loopback only",
        ),
    ]


def _check_ids(conn: sa.Connection) -> Check:
    """Whether all stored ids are in normal form."""
    unnormalised = id_normalisation.find_unnormalised(conn)
    example_of: dict[str, UnnormalisedId] = {}
    for each in unnormalised:
        example_of.setdefault(each.noun, each)
    if not unnormalised:
        return "ids", True, "all in normal form: Unicode NFC, no white space around them"
    counts = [
        f"{sum(each.noun == noun for each in unnormalised):,} {noun} such as {example.id_!r} in space {example.space}"
        for noun, example in example_of.items()
    ]
    detail = f"not in the normal form that requests and imports use: {'; '.join(counts)}"
    return "ids", False, f"{detail}; merge them into the normal form with `nearfield doctor --mend-ids`"
