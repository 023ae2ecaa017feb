"""Pulse: whether PostgreSQL answers, asked all the time over a connection that is there for nothing else.

When its processes are frozen the kernel goes on acknowledging what they are sent, so that neither keepalives nor libpq
notice, and a statement waits for ever. It cannot be told from a slow one by waiting; so another question is asked.
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

EVERY_S = 0.5
SILENT_S = 2.0  # a busy machine lets a question wait for some tenths of a second
CLOSE_S = 2.0
Value = TypeVar("Value")
Heed = Callable[[], None]


def heeding(heed: Heed) -> type[psycopg.Connection]:
    """Connections that call `heed` at every tenth of a second in which nothing came; where it raises they end."""

    class Heeding(psycopg.Connection):
        def wait(self, gen: PQGen[RV], *args: Any, **options: Any) -> RV:
            def look() -> None:
                try:
                    heed()
                except psycopg.Error:
                    self.close()
                    raise

            return super().wait(_looking(gen, look), *args, **options)

        @classmethod
        def _connect_gen(cls, *args: Any, **options: Any) -> Any:  # were it gone, connect_timeout would do, later
            return _looking(super()._connect_gen(*args, **options), heed)

    return Heeding


def _looking(gen: Generator[Any, Any, Value], look: Heed) -> Generator[Any, Any, Value]:
    """What psycopg waits for, with a look whenever it waited for its interval in vain."""
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready:
                look()
            wanted = gen.send(ready)
    except StopIteration as done:
        value: Value = done.value
        return value


class Pulse:
    """A thread that keeps `database.silent`: set while PostgreSQL leaves the question unanswered."""

    def __init__(self, database: Database):
        self._database, self._silent = database, database.silent
        self._conn: psycopg.Connection | None = None
        self._since = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nearfield-pulse", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            self._since = time.monotonic()
            try:
                self._ask(self._conn or self._dialled())
            except psycopg.errors.ConnectionTimeout:
                self._silent.set()
            except Exception:  # psycopg's, or no file or thread is left; it goes on once there is
                self._broken()
        self._broken()

    def _dialled(self) -> psycopg.Connection:
        self._conn = self._database.dial(self._heed)
        self._since = time.monotonic()
        return self._conn

    def _ask(self, conn: psycopg.Connection) -> None:
        conn.execute("SELECT 1")
        self._silent.clear()

    def _broken(self) -> None:
        if self._conn is None:
            self._silent.clear()  # who connects is told at once that it is away
        else:
            self._conn.close()  # which says nothing of a silence until then
            self._conn = None

    def _heed(self) -> None:
        if self._stop.is_set():
            raise psycopg.OperationalError("nobody wants to know any more")
        if time.monotonic() - self._since > SILENT_S:
            self._silent.set()
