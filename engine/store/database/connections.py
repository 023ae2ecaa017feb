"""Database: the one door to PostgreSQL, embedded or by URL."""

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
from engine.store.database.error_mapping import disk_full, unavailable, went_away
from engine.store.database.liveness_probe import Heed, heeding

Connection = sa.Connection  # for annotations outside this folder, the one that imports SQLAlchemy
DataRefused = sa.exc.DataError  # PostgreSQL cannot hold a value
FROZEN_S = 1.0  # that the end of a process waits for a PostgreSQL that did not answer; it stops once it goes on
MIN_POSTGRES = 15
MIN_PGVECTOR = (0, 8)
LIMITS = {  # of libpq: a host whose packets are dropped is away after some 11 s; a long query goes on where one answers
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # milliseconds
}


class Database:
    """Connections to one PostgreSQL. Every failure to reach it is a StoreUnavailable.

    A write to a space that somebody deleted since its key was read is NotFound; one that waited `lock_s` seconds for
    another transaction, as an import, is StoreBusy. Without `lock_s` it waits for as long as that takes.
    """

    def __init__(
        self, url: str, server: EmbeddedServer | None = None, pool_size: int = 20, lock_s: float | None = None
    ):
        self._server = server
        self._away, self._trying = False, threading.Lock()
        self._starts, self._why, self._frozen = Backoff(1.0, 10.0), "", False
        self.silent = threading.Event()  # kept by a Pulse: while it is set nobody waits for PostgreSQL
        self.url = url  # for another process; it has the password
        self.db = sa.create_engine(
            _driver_url(url), pool_size=pool_size, max_overflow=20, pool_timeout=10, connect_args=LIMITS
        )
        connections = heeding(self._heed)
        sa.event.listen(
            self.db, "do_connect", lambda dialect, record, args, options: connections.connect(*args, **options)
        )
        sa.event.listen(self.db, "checkout", _replace_dead)
        if lock_s is not None:
            sa.event.listen(self.db, "connect", partial(_limit_locks, lock_s))

    @property
    def embedded(self) -> bool:
        return self._server is not None

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """A connection in a transaction: committed at the end, rolled back by an error.

        StoreUnavailable says so where PostgreSQL was told to commit and nobody knows whether it did.
        """
        told = False
        try:
            with self.connect() as conn, conn.begin(), _cut_short(conn):
                yield conn
                told = True
        except StoreUnavailable as error:
            if told and error.away:
                raise StoreUnavailable(f"{error}; what was asked may or may not have been done") from error
            raise

    @contextmanager
    def connect(self) -> Iterator[sa.Connection]:
        try:
            with self._open() as conn, _cut_short(conn):
                yield conn
        except (OperationalError, InterfaceError, psycopg.OperationalError) as error:
            raise unavailable(error, self._server) from error
        except PoolTimeout as error:
            raise StoreBusy("every database connection is busy; this was not done, ask again in a moment") from error
        except DBAPIError as error:
            if error.connection_invalidated:
                raise went_away(error, self._server) from error
            if _without_space(error):
                raise NotFound("the space was deleted meanwhile") from error
            raise

    @contextmanager
    def beside(self, conn: sa.Connection) -> Iterator[sa.Connection]:
        """Another connection, to read in parallel just what the REPEATABLE READ transaction of `conn` sees."""
        snapshot = conn.exec_driver_sql("SELECT pg_export_snapshot()").scalar_one()
        with self.connect() as other:
            other = other.execution_options(isolation_level="REPEATABLE READ")
            with other.begin():
                other.exec_driver_sql(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
                yield other

    def apart(self) -> psycopg.Connection:
        """A connection beside the pool, in autocommit; who asks for it closes it."""
        with self.connect():  # so that an embedded PostgreSQL runs
            return self.dial(self._heed)

    def dial(self, heed: Heed) -> psycopg.Connection:
        """The same, whatever is known of PostgreSQL; errors are those of psycopg."""
        _, options = self.db.dialect.create_connect_args(self.db.url)
        return heeding(heed).connect(**{**options, **LIMITS, "autocommit": True})

    def _heed(self) -> None:
        if self.silent.is_set():
            raise psycopg.OperationalError("it says nothing")

    def _open(self) -> sa.Connection:
        self._heed()
        if self._server is None:
            return self._reached()
        try:
            conn = self.db.connect()
            self._frozen = False
            return conn
        except OperationalError as error:
            if isinstance(error.orig, psycopg.errors.ConnectionTimeout):
                self._frozen = True  # it runs, so that to start it is no help
                raise
        self._heed()
        if self._starts.pausing:  # a start that fails costs more than a second of a processor
            away = StoreUnavailable(f"PostgreSQL is away, and did not start a moment ago: {self._why}")
            raise disk_full(self._server) or away
        try:
            self._server.ensure_running()
        except StoreUnavailable as error:
            self._starts.failed()
            self._why = str(error)
            raise disk_full(self._server) or error from error
        self._starts.worked()
        return self.db.connect()

    def _reached(self) -> sa.Connection:
        """While it is away one caller at a time tries; the others, who could wait as long for nothing, are told."""
        if not self._away:
            return self._tried()
        if not self._trying.acquire(blocking=False):
            raise StoreUnavailable("PostgreSQL is away; ask again in a moment")
        try:
            return self._tried()
        finally:
            self._trying.release()

    def _tried(self) -> sa.Connection:
        try:
            conn = self.db.connect()
        except OperationalError:
            self._away = True
            raise
        self._away = False
        return conn

    def leave(self) -> None:
        """As `close`, where the process ends at once: nothing is waited for."""
        if self._server is not None:
            self._server.close(0.0)

    def close(self) -> None:
        self.db.dispose()
        if self._server is not None:
            self._server.close(*([FROZEN_S] if self._frozen else []))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


@contextmanager
def _cut_short(conn: sa.Connection) -> Iterator[None]:
    """A signal may end the process in the middle of a statement, or PostgreSQL that of what SQLAlchemy does not see, as
    a COPY: nothing more can be said on this connection.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, psycopg.OperationalError):
        conn.invalidate()
        raise


def open_database(
    settings: Settings, *, migrate: bool | None = None, pool_size: int = 20, lock_s: float | None = None
) -> Database:
    """Open the database of `settings`. The embedded one migrates itself; another must be at head, or `migrate=True`.

    Raises StoreUnavailable when it is away, too old, without pgvector or not migrated.
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
        elif (found := migrations.current(conn)) != (head := migrations.head()):
            raise StoreUnavailable(f"the schema is at {found}, expected {head}; run `nearfield migrate`")


def _check_versions(conn: sa.Connection) -> None:
    version = int(conn.exec_driver_sql("SHOW server_version_num").scalar_one()) // 10_000
    if version < MIN_POSTGRES:
        raise StoreUnavailable(f"PostgreSQL {version} is too old; expected {MIN_POSTGRES} or newer")
    query = "SELECT default_version FROM pg_available_extensions WHERE name = 'vector'"
    pgvector = conn.exec_driver_sql(query).scalar()
    if pgvector is None or tuple(int(part) for part in pgvector.split(".")[:2]) < MIN_PGVECTOR:
        raise StoreUnavailable(f"pgvector 0.8 or newer is needed, found {pgvector or 'none'}; install it on the server")


def _without_space(error: DBAPIError) -> bool:
    """Whether a row was refused because its space is gone; PostgreSQL named these constraints. Another is our bug."""
    cause = error.orig
    return isinstance(cause, psycopg.errors.ForeignKeyViolation) and (cause.diag.constraint_name or "").endswith(
        "_space_key_fkey"
    )


def _limit_locks(lock_s: float, raw: psycopg.Connection, record: object) -> None:
    """Of a new connection. By a statement: a pooler of sessions in between may know no such option at the start."""
    raw.execute("SELECT set_config('lock_timeout', %s, false)", (f"{round(lock_s * 1000)}ms",))
    raw.commit()


def _replace_dead(raw: psycopg.Connection, record: object, proxy: object) -> None:
    """One that died in the pool is replaced, and so is every other that is as old, each when its turn comes."""
    if not _alive(raw):
        raise sa.exc.InvalidatePoolError("PostgreSQL closed this connection")


def _alive(raw: psycopg.Connection) -> bool:
    """Whether the server closed this idle connection: a poll of the socket, no round trip."""
    if raw.closed or raw.broken:
        return False
    poll = select.poll()  # select() takes no file descriptor beyond 1023, and a server has one for each client
    poll.register(raw.fileno(), select.POLLIN)
    return not poll.poll(0)  # an idle connection has nothing to say except goodbye


def _driver_url(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):  # ValueError: a port that is no number
        raise StoreUnavailable("NEARFIELD_DATABASE_URL is not a URL; expected postgresql://user@host/name") from None
    if parsed.get_backend_name() != "postgresql":
        raise StoreUnavailable(f"expected a postgresql:// URL, got {parsed.drivername}://")
    return parsed.set(drivername="postgresql+psycopg")
