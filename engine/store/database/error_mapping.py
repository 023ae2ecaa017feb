"""Unavailable: what an error of PostgreSQL, or of reaching it, says to a person: away, frozen, busy, or out of disk."""

from __future__ import annotations

import psycopg

from engine.disk_space import LEAST_BYTES, free_bytes, full
from engine.errors import DiskFull, StoreBusy, StoreUnavailable
from engine.store.database.embedded import EmbeddedServer

IN_ITS_WAY = (  # what PostgreSQL ends for another transaction
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
)
AGAIN = "then ask again; reads go on"
NOT_DONE = f"{AGAIN}, and what was asked was not done"


def unavailable(error: Exception, server: EmbeddedServer | None) -> StoreUnavailable:
    """Of an operational error, as SQLAlchemy or psycopg raised it."""
    cause = getattr(error, "orig", error)
    if isinstance(cause, IN_ITS_WAY):
        why = "something else is done with the same rows, as by an import, and takes long"
        return StoreBusy(f"{why}; this was not done, ask again in a moment")
    if isinstance(cause, psycopg.errors.DiskFull):
        if server is not None:
            return full(server.data, LEAST_BYTES, "PostgreSQL", NOT_DONE)
        return DiskFull(f"the disk of PostgreSQL is full: {first_line(error)}; free some or make it larger, {NOT_DONE}")
    if isinstance(cause, psycopg.errors.ConnectionTimeout):
        return StoreUnavailable("PostgreSQL is there and does not answer: it is stopped, frozen or overloaded")
    return disk_full(server) or StoreUnavailable(f"PostgreSQL is away: {first_line(error)}")


def went_away(error: Exception, server: EmbeddedServer | None) -> StoreUnavailable:
    """Of a connection that was lost."""
    return disk_full(server) or StoreUnavailable(f"PostgreSQL went away: {first_line(error)}")


def disk_full(server: EmbeddedServer | None) -> DiskFull | None:
    """Where the disk of an embedded PostgreSQL, which is ours to look at, is so full that it ended of that."""
    if server is None or free_bytes(server.data) >= LEAST_BYTES:
        return None
    found = full(server.data, LEAST_BYTES, "PostgreSQL", AGAIN)
    found.away = True
    return found


def first_line(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().split("\n")[0] or type(cause).__name__
