"""Leader election: of all processes of a database, at most one runs a job at a time."""

from __future__ import annotations

import zlib

import psycopg
import sqlalchemy as sa

from engine.store.database.connections import Database


class LeaderElection:
    """The leader holds an advisory lock on a dedicated connection; PostgreSQL releases it when the process dies."""

    def __init__(self, database: Database, job: str):
        self._database, self._key = database, _lock_key(job)
        self._conn: psycopg.Connection | None = None

    def try_acquire(self) -> bool:
        """Whether this process is now the leader; StoreUnavailable when PostgreSQL is unreachable."""
        conn = self._database.dedicated_connection()
        row = conn.execute("SELECT pg_try_advisory_lock(%s)", (self._key,)).fetchone()
        if row is not None and row[0]:
            self._conn = conn
            return True
        conn.close()
        return False

    def release(self) -> None:
        if self._conn is not None:
            self._conn.close()
            self._conn = None


def is_job_running(conn: sa.Connection, job: str) -> bool:
    """Whether any process runs the job now."""
    query = """SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = 0
        AND objid = %s::bigint::oid AND objsubid = 1
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"""
    return bool(conn.exec_driver_sql(query, (_lock_key(job),)).scalar_one())


def _lock_key(job: str) -> int:
    return zlib.crc32(job.encode())
