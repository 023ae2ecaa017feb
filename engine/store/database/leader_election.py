"""Election: among all processes of a database, one at a time does a job."""

from __future__ import annotations

import zlib

import psycopg
import sqlalchemy as sa

from engine.store.database.connections import Database


class Election:
    """Held by an advisory lock of a connection of its own, so a process that dies gives it up."""

    def __init__(self, database: Database, job: str):
        self._database, self._key = database, _key(job)
        self._conn: psycopg.Connection | None = None

    def win(self) -> bool:
        """Whether this process has the job now; StoreUnavailable when PostgreSQL is away."""
        own = self._database.apart()
        row = own.execute("SELECT pg_try_advisory_lock(%s)", (self._key,)).fetchone()
        if row is not None and row[0]:
            self._conn = own
            return True
        own.close()
        return False

    def resign(self) -> None:
        if self._conn is not None:
            self._conn.close()
            self._conn = None


def under_way(conn: sa.Connection, job: str) -> bool:
    """Whether some process does a job now."""
    query = """SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = 0
        AND objid = %s::bigint::oid AND objsubid = 1
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"""
    return bool(conn.exec_driver_sql(query, (_key(job),)).scalar_one())


def _key(job: str) -> int:
    return zlib.crc32(job.encode())
