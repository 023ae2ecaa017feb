"""Notifications: a server that wrote wakes the others at once. They also poll, so a lost notification costs a second.

NOTIFY takes a lock on the whole database at commit and more than halves the write throughput of hot transactions. It is
therefore sent in its own transaction, at most once every `INTERVAL_S`.
"""

from __future__ import annotations

import threading

import psycopg
import structlog

from engine.errors import StoreUnavailable
from engine.store.database.connections import Database

log = structlog.get_logger()
CHANNEL = "nearfield"
INTERVAL_S = 0.03
CLOSE_S = 2.0  # a thread that waits for a frozen PostgreSQL does not delay the end of the process
NOTIFY = "SELECT pg_notify(%s, name) FROM unnest(%s::text[]) AS name"


class Notifier:
    """A thread that sends the names of changed spaces; names that arrive during a pause are sent together."""

    def __init__(self, database: Database):
        self._database = database
        self._names: set[str] = set()
        self._lock, self._pending, self._stop = threading.Lock(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="nearfield-notifier", daemon=True)
        self._thread.start()

    def notify(self, space: str) -> None:
        with self._lock:
            self._names.add(space)
        self._pending.set()

    def close(self) -> None:
        self._stop.set()
        self._pending.set()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._pending.wait()
            self._pending.clear()
            with self._lock:
                names, self._names = sorted(self._names), set()
            if names:
                try:
                    with self._database.begin() as conn:
                        conn.exec_driver_sql(NOTIFY, (CHANNEL, names))
                except StoreUnavailable:
                    pass  # the others find the change with their next poll
                except Exception as error:  # a standby rejects NOTIFY, and may be promoted later
                    log.warning("notifying the other servers failed", error=str(error))
            self._stop.wait(INTERVAL_S)


class Listener:
    """A connection that receives the notifications of the Notifiers of all processes."""

    def __init__(self, database: Database):
        self._database = database
        self._conn: psycopg.Connection | None = None

    def wait(self, timeout_s: float) -> set[str]:
        """The spaces that changed; empty after `timeout_s`. StoreUnavailable when PostgreSQL is unreachable."""
        try:
            conn = self._conn = self._conn or self._open()
            return {each.payload for each in conn.notifies(timeout=timeout_s, stop_after=1)}
        except psycopg.Error as error:
            self.close()
            raise StoreUnavailable(f"the connection to PostgreSQL was lost: {error}") from error

    def close(self) -> None:
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def _open(self) -> psycopg.Connection:
        conn = self._database.dedicated_connection()
        conn.execute(f"LISTEN {CHANNEL}")
        return conn
