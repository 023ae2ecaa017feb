"""Database: the connection pool of one PostgreSQL, embedded or by URL; every statement of the engine runs on it."""

from __future__ import annotations

import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Self

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from engine.backoff import Backoff
from engine.errors import NotFound, StoreBusy, StoreUnavailable
from engine.settings import Settings
from engine.store.database import migrations
from engine.store.database.embedded import EmbeddedServer
from engine.store.database.error_mapping import connection_lost, disk_full, map_error
from engine.store.database.liveness_probe import CheckAlive, checked_connection_class

Connection = sa.Connection  # for annotations in rooms that do not import SQLAlchemy
InvalidData = sa.exc.DataError  # PostgreSQL cannot store a value
FROZEN_STOP_S = 1.0  # a process that ends waits this long for a frozen PostgreSQL, which stops when it runs again
MIN_POSTGRES = 15
MIN_PGVECTOR = (0, 8)
LIMITS = {  # libpq: a host that drops packets is unreachable after about 11 s; a long query on a live host continues
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # milliseconds
}


class Database:
    """Connections to one PostgreSQL. Every failure to reach it raises StoreUnavailable.

    A write raises NotFound when the space was deleted after its key was read, and StoreBusy when it waited `lock_s`
    seconds for the lock of another transaction, such as an import. Without `lock_s` it waits without a limit.
    """

    def __init__(
        self, url: str, server: EmbeddedServer | None = None, pool_size: int = 20, lock_s: float | None = None
    ):
        self._server = server
        self._unreachable, self._reconnecting = False, threading.Lock()
        self._start_backoff, self._start_error = Backoff(1.0, 10.0), ""
        self._connect_timed_out = False
        self.frozen = threading.Event()  # set by a LivenessProbe: while it is set, no caller waits for PostgreSQL
        self.url = url  # for another process; contains the password
        self.db = sa.create_engine(
            _driver_url(url), pool_size=pool_size, max_overflow=20, pool_timeout=10, connect_args=LIMITS
        )
        connection_class = checked_connection_class(self._check_not_frozen)
        sa.event.listen(
            self.db, "do_connect", lambda dialect, record, args, options: connection_class.connect(*args, **options)
        )
        sa.event.listen(self.db, "checkout", _replace_dead)
        if lock_s is not None:
            sa.event.listen(self.db, "connect", partial(_set_lock_timeout, lock_s))

    @property
    def embedded(self) -> bool:
        return self._server is not None

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """A connection in a transaction: committed at the end, rolled back by an error.

        When the connection is lost during the commit, the StoreUnavailable says that the outcome is unknown.
        """
        committing = False
        try:
            with self.connect() as conn, conn.begin(), _invalidating(conn):
                yield conn
                committing = True
        except StoreUnavailable as error:
            if committing and error.is_down:
                message = f"{error}; the connection was lost during the commit: the write may or may not be stored"
                raise StoreUnavailable(message) from error
            raise

    @contextmanager
    def connect(self) -> Iterator[sa.Connection]:
        try:
            with self._open() as conn, _invalidating(conn):
                yield conn
        except (OperationalError, InterfaceError, psycopg.OperationalError) as error:
            raise map_error(error, self._server) from error
        except PoolTimeout as error:
            raise StoreBusy("every database connection is busy; nothing was done, try again in a moment") from error
        except DBAPIError as error:
            if error.connection_invalidated:
                raise connection_lost(error, self._server) from error
            if _is_space_deleted(error):
                raise NotFound("the space was deleted during the request") from error
            raise

    @contextmanager
    def same_snapshot(self, conn: sa.Connection) -> Iterator[sa.Connection]:
        """A second connection for parallel reads, with the snapshot of the REPEATABLE READ transaction of `conn`."""
        snapshot = conn.exec_driver_sql("SELECT pg_export_snapshot()").scalar_one()
        with self.connect() as other:
            other = other.execution_options(isolation_level="REPEATABLE READ")
            with other.begin():
                other.exec_driver_sql(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
                yield other

    def dedicated_connection(self) -> psycopg.Connection:
        """A connection outside the pool, in autocommit; the caller closes it."""
        with self.connect():  # starts an embedded PostgreSQL that does not run
            return self.connect_outside_pool(self._check_not_frozen)

    def connect_outside_pool(self, check_alive: CheckAlive) -> psycopg.Connection:
        """A connection in autocommit that ignores `frozen` and does not start PostgreSQL; raises psycopg errors."""
        _, options = self.db.dialect.create_connect_args(self.db.url)
        return checked_connection_class(check_alive).connect(**{**options, **LIMITS, "autocommit": True})

    def _check_not_frozen(self) -> None:
        if self.frozen.is_set():
            raise psycopg.OperationalError("it does not answer")

    def _open(self) -> sa.Connection:
        self._check_not_frozen()
        if self._server is None:
            return self._connect_by_url()
        try:
            conn = self.db.connect()
            self._connect_timed_out = False
            return conn
        except OperationalError as error:
            if isinstance(error.orig, psycopg.errors.ConnectionTimeout):
                self._connect_timed_out = True  # it runs, so starting it does not help
                raise
        self._check_not_frozen()
        if self._start_backoff.is_pausing:  # a failed start costs more than a second of CPU time
            unreachable = StoreUnavailable(
                f"PostgreSQL is unreachable, and its last start failed a moment ago: {self._start_error}"
            )
            raise disk_full(self._server) or unreachable
        try:
            self._server.ensure_running()
        except StoreUnavailable as error:
            self._start_backoff.record_failure()
            self._start_error = str(error)
            raise disk_full(self._server) or error from error
        self._start_backoff.record_success()
        return self.db.connect()

    def _connect_by_url(self) -> sa.Connection:
        """While PostgreSQL is unreachable one caller at a time tries to connect; the others fail without a wait."""
        if not self._unreachable:
            return self._try_connect()
        if not self._reconnecting.acquire(blocking=False):
            raise StoreUnavailable("PostgreSQL is unreachable; try again in a moment")
        try:
            return self._try_connect()
        finally:
            self._reconnecting.release()

    def _try_connect(self) -> sa.Connection:
        try:
            conn = self.db.connect()
        except OperationalError:
            self._unreachable = True
            raise
        self._unreachable = False
        return conn

    def close_without_waiting(self) -> None:
        """`close` for a process that ends at once: does not wait until an embedded PostgreSQL has stopped."""
        if self._server is not None:
            self._server.close(0.0)

    def close(self) -> None:
        self.db.dispose()
        if self._server is not None:
            self._server.close(*([FROZEN_STOP_S] if self._connect_timed_out else []))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


@contextmanager
def _invalidating(conn: sa.Connection) -> Iterator[None]:
    """Discard the connection when a signal interrupts a statement, or when it breaks in code that SQLAlchemy does not
    see, such as a COPY: its protocol state is then unknown.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, psycopg.OperationalError):
        conn.invalidate()
        raise


def open_database(
    settings: Settings, *, migrate: bool | None = None, pool_size: int = 20, lock_s: float | None = None
) -> Database:
    """Open the database of `settings`. An embedded one is migrated; one by URL must be at head, or `migrate=True`.

    Raises StoreUnavailable when it is unreachable, too old, without pgvector or not migrated.
    """
    if settings.database_url is None:
        server = EmbeddedServer(settings.home)
        database = Database(server.url, server, pool_size, lock_s)
    else:
        database = Database(settings.database_url.get_secret_value(), None, pool_size, lock_s)
    try:
        _prepare(database, database.embedded if migrate is None else migrate)
    except BaseException:
        database.close()
        raise
    return database


def _prepare(database: Database, migrate: bool) -> None:
    with database.begin() as conn:
        conn.exec_driver_sql("SET LOCAL lock_timeout = 0")  # another process may be migrating
        _check_versions(conn)
        if migrate:
            migrations.upgrade(conn)
        elif (revision := migrations.current(conn)) != (head := migrations.head()):
            raise StoreUnavailable(f"the schema is at {revision}, expected {head}; run `nearfield migrate`")


def _check_versions(conn: sa.Connection) -> None:
    version = int(conn.exec_driver_sql("SHOW server_version_num").scalar_one()) // 10_000
    if version < MIN_POSTGRES:
        raise StoreUnavailable(f"expected PostgreSQL {MIN_POSTGRES} or newer, got {version}; upgrade the server")
    query = "SELECT default_version FROM pg_available_extensions WHERE name = 'vector'"
    pgvector = conn.exec_driver_sql(query).scalar()
    if pgvector is None or tuple(int(part) for part in pgvector.split(".")[:2]) < MIN_PGVECTOR:
        raise StoreUnavailable(f"expected pgvector 0.8 or newer, got {pgvector or 'none'}; install it on the server")


def _is_space_deleted(error: DBAPIError) -> bool:
    """Whether the error violates the foreign key to `spaces`, by PostgreSQL's constraint name. Others are our bugs."""
    cause = error.orig
    return isinstance(cause, psycopg.errors.ForeignKeyViolation) and (cause.diag.constraint_name or "").endswith(
        "_space_key_fkey"
    )


def _set_lock_timeout(lock_s: float, driver: psycopg.Connection, record: object) -> None:
    """For a new connection. A statement, because a session pooler may reject the setting as a startup option."""
    driver.execute("SELECT set_config('lock_timeout', %s, false)", (f"{round(lock_s * 1000)}ms",))
    driver.commit()


def _replace_dead(driver: psycopg.Connection, record: object, proxy: object) -> None:
    """Replace a pooled connection that PostgreSQL closed, and each other of the same age when it is checked out."""
    if not _is_alive(driver):
        raise sa.exc.InvalidatePoolError("PostgreSQL closed this connection")


def _is_alive(driver: psycopg.Connection) -> bool:
    """Whether the server keeps this idle connection open: polls the socket, no round trip."""
    if driver.closed or driver.broken:
        return False
    poll = select.poll()  # select() rejects file descriptors above 1023, and a server has one for each client
    poll.register(driver.fileno(), select.POLLIN)
    return not poll.poll(0)  # data on an idle connection means that the server closes it


def _driver_url(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):  # ValueError: the port is not a number
        raise StoreUnavailable("NEARFIELD_DATABASE_URL is not a URL; expected postgresql://user@host/name") from None
    if parsed.get_backend_name() != "postgresql":
        raise StoreUnavailable(f"expected a postgresql:// URL, got {parsed.drivername}://")
    return parsed.set(drivername="postgresql+psycopg")
