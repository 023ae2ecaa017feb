"""Wake-ups: a server that wrote tells the others at once. A poll stays the truth; a lost wake-up costs a second.

NOTIFY takes a lock of the whole database at commit and more than halves the write throughput inside hot transactions,
so it is sent from a connection of its own, at most every `EVERY_S`.
"""

from __future__ import annotations

import threading

import psycopg
import structlog

from engine.errors import StoreUnavailable
from engine.store.database.connections import Database

log = structlog.get_logger()
CHANNEL = "nearfield"
EVERY_S = 0.03
CLOSE_S = 2.0  # a thread that waits for a PostgreSQL that says nothing does not hold the end of the process
NOTIFY = "SELECT pg_notify(%s, name) FROM unnest(%s::text[]) AS name"


class Waker:
    """A thread that tells which spaces changed; what is told meanwhile goes along with the next."""

    def __init__(self, database: Database):
        self._database = database
        self._names: set[str] = set()
        self._lock, self._told, self._stop = threading.Lock(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="nearfield-waker", daemon=True)
        self._thread.start()

    def tell(self, space: str) -> None:
        with self._lock:
            self._names.add(space)
        self._told.set()

    def close(self) -> None:
        self._stop.set()
        self._told.set()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._told.wait()
            self._told.clear()
            with self._lock:
                names, self._names = sorted(self._names), set()
            if names:
                try:
                    with self._database.begin() as conn:
                        conn.exec_driver_sql(NOTIFY, (CHANNEL, names))
                except StoreUnavailable:
                    pass  # nobody can be told; every poll finds out by itself
                except Exception as error:  # a standby takes no NOTIFY, and may be promoted
                    log.warning("waking others failed", error=str(error))
            self._stop.wait(EVERY_S)


class Listener:
    """One connection that hears what a Waker of any process tells."""

    def __init__(self, database: Database):
        self._database = database
        self._conn: psycopg.Connection | None = None

    def wait(self, timeout_s: float) -> set[str]:
        """The spaces that changed; empty when nobody told within the time. StoreUnavailable when PostgreSQL is away."""
        try:
            conn = self._conn = self._conn or self._open()
            return {each.payload for each in conn.notifies(timeout=timeout_s, stop_after=1)}
        except psycopg.Error as error:
            self.close()
            raise StoreUnavailable(f"PostgreSQL went away: {error}") from error

    def close(self) -> None:
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def _open(self) -> psycopg.Connection:
        listening = self._database.apart()
        listening.execute(f"LISTEN {CHANNEL}")
        return listening
