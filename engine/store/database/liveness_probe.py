"""Liveness probe: detects a frozen PostgreSQL with a periodic `SELECT 1` on a dedicated connection.

When the processes of PostgreSQL are frozen (SIGSTOP, a paused container), the kernel still acknowledges packets, so
neither TCP keepalives nor libpq time-outs notice, and a statement waits for ever. Waiting cannot tell a frozen server
from a slow statement; a second, trivial query can.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg.abc import RV, PQGen

if TYPE_CHECKING:
    from engine.store.database.connections import Database

PROBE_INTERVAL_S = 0.5
TIMEOUT_S = 2.0  # on a busy machine a probe waits for some tenths of a second
CLOSE_S = 2.0
Value = TypeVar("Value")
CheckAlive = Callable[[], None]  # raises psycopg.Error when the caller must not wait any longer


def checked_connection_class(check_alive: CheckAlive) -> type[psycopg.Connection]:
    """Connections that call `check_alive` at each 0.1 s without data; when it raises, the connection is closed."""

    class CheckedConnection(psycopg.Connection):
        def wait(self, gen: PQGen[RV], *args: Any, **options: Any) -> RV:
            def check_or_close() -> None:
                try:
                    check_alive()
                except psycopg.Error:
                    self.close()
                    raise

            return super().wait(_checked(gen, check_or_close), *args, **options)

        @classmethod
        def _connect_gen(cls, *args: Any, **options: Any) -> Any:  # private; without it connect_timeout ends the wait
            return _checked(super()._connect_gen(*args, **options), check_alive)

    return CheckedConnection


def _checked(gen: Generator[Any, Any, Value], check: CheckAlive) -> Generator[Any, Any, Value]:
    """The wait generator of psycopg, with a call of `check` after each wait interval without data."""
    try:
        wait_for = next(gen)
        while True:
            ready = yield wait_for
            if not ready:
                check()
            wait_for = gen.send(ready)
    except StopIteration as done:
        value: Value = done.value
        return value


class LivenessProbe:
    """A thread that sets `database.frozen` while PostgreSQL leaves a probe unanswered, and clears it afterwards."""

    def __init__(self, database: Database):
        self._database, self._frozen = database, database.frozen
        self._conn: psycopg.Connection | None = None
        self._asked_at = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nearfield-liveness", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while not self._stop.wait(PROBE_INTERVAL_S):
            self._asked_at = time.monotonic()
            try:
                self._probe(self._conn or self._connect())
            except psycopg.errors.ConnectionTimeout:
                self._frozen.set()
            except Exception:  # of psycopg, or no free file descriptor or thread; the next probe tries again
                self._disconnect()
        self._disconnect()

    def _connect(self) -> psycopg.Connection:
        self._conn = self._database.connect_outside_pool(self._check_timeout)
        self._asked_at = time.monotonic()
        return self._conn

    def _probe(self, conn: psycopg.Connection) -> None:
        conn.execute("SELECT 1")
        self._frozen.clear()

    def _disconnect(self) -> None:
        if self._conn is None:
            self._frozen.clear()  # PostgreSQL is down, not frozen: a new connection fails without a wait
        else:
            self._conn.close()  # a lost connection does not show that PostgreSQL is frozen; the next probe decides
            self._conn = None

    def _check_timeout(self) -> None:
        if self._stop.is_set():
            raise psycopg.OperationalError("the liveness probe is closed")
        if time.monotonic() - self._asked_at > TIMEOUT_S:
            self._frozen.set()
