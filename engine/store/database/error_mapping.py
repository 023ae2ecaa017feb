"""Error mapping: an error of PostgreSQL or psycopg becomes StoreUnavailable, StoreBusy or DiskFull, with a message that
says whether PostgreSQL is unreachable, frozen, busy or out of disk space.
"""

from __future__ import annotations

import psycopg

from engine.disk_space import MIN_FREE_BYTES, disk_full_error, free_bytes
from engine.errors import DiskFull, StoreBusy, StoreUnavailable
from engine.store.database.embedded import EmbeddedServer

CONFLICTING_TRANSACTION = (  # PostgreSQL aborts the statement because of another transaction
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
)
RETRY = "then try again; reads continue"
NOT_DONE = f"{RETRY}, and the write was not done"


def map_error(error: Exception, server: EmbeddedServer | None) -> StoreUnavailable:
    """The error of the store for an operational error of SQLAlchemy or psycopg."""
    cause = getattr(error, "orig", error)
    if isinstance(cause, CONFLICTING_TRANSACTION):
        return StoreBusy(
            "another transaction, such as an import, holds the same rows for too long; nothing was done, "
            "try again in a moment"
        )
    if isinstance(cause, psycopg.errors.DiskFull):
        if server is not None:
            return disk_full_error(server.data, MIN_FREE_BYTES, "PostgreSQL", NOT_DONE)
        return DiskFull(f"the disk of PostgreSQL is full: {first_line(error)}; free space or enlarge it, {NOT_DONE}")
    if isinstance(cause, psycopg.errors.ConnectionTimeout):
        return StoreUnavailable("PostgreSQL accepts connections but does not answer: it is frozen or overloaded")
    return disk_full(server) or StoreUnavailable(f"PostgreSQL is unreachable: {first_line(error)}")


def connection_lost(error: Exception, server: EmbeddedServer | None) -> StoreUnavailable:
    """The error of the store for a connection that broke during use."""
    return disk_full(server) or StoreUnavailable(f"the connection to PostgreSQL was lost: {first_line(error)}")


def disk_full(server: EmbeddedServer | None) -> DiskFull | None:
    """DiskFull when the disk of an embedded PostgreSQL is so full that PostgreSQL stopped because of it, else None."""
    if server is None or free_bytes(server.data) >= MIN_FREE_BYTES:
        return None
    error = disk_full_error(server.data, MIN_FREE_BYTES, "PostgreSQL", RETRY)
    error.is_down = True
    return error


def first_line(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().split("\n")[0] or type(cause).__name__
