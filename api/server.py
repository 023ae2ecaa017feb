"""serve: runs the app under uvicorn, in this process or in spawned workers that are replaced when they die."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import gc
import ipaddress
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI
from prometheus_client.multiprocess import mark_process_dead
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from api.app import create_app, open_server_database
from api.limits.early_rejection import EarlyRejectionProtocol
from api.logs import capture_library_logs, configure_logging
from api.shutdown import DRAIN_S, SERVER_S, WORKER_S, ShutdownTimer, TimedServer
from engine.backoff import Backoff
from engine.errors import Conflict, InputError, StoreUnavailable
from engine.settings import Settings
from engine.store import api_keys
from engine.store.database.connections import Database
from indexing.gpu.gpu_process import gpu_process

log = structlog.get_logger()
HEALTH_S = 15  # a worker that does not answer a ping for so long is replaced; 5 is too short on a busy machine
START_S = 120  # the same for a worker that starts: it answers no ping until its imports are done
RETRY_S, MAX_RETRY_S = 1.0, 10.0  # between attempts to open the database: the first and the longest wait
SET_PARENT_DEATH_SIGNAL = 1  # prctl(2), Linux: a worker must not outlive a killed parent and keep its port


def serve(
    settings: Settings, host: str, port: int, workers: int, on_ready: Callable[[int], None] = lambda port: None
) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests in progress and end within 10 s.

    Calls `on_ready` with the port once every check has passed.

    Raises Conflict for a port in use, or for an address beyond loopback while there is no key.
    """
    configure_logging(settings.log_level)
    capture_library_logs(settings.log_level)
    if workers < 1:
        raise InputError(f"expected at least 1 worker, got {workers}", loc=("workers",))
    with (
        ShutdownTimer(SERVER_S) as timer,
        bound(host, port) as listener,
        gpu_process(settings.home, settings.device),
        open_server_database(settings) as database,
    ):
        if not is_loopback(host):
            _check_key(database, host)
            settings = settings.model_copy(update={"require_keys": True})
        on_ready(listener.getsockname()[1])
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))  # leaves this block and closes the database
        timer.final_action = database.close_without_waiting
        timer.handle_signals()
        if workers == 1:
            app = freeze_gc(create_app(settings, database))
            TimedServer(uvicorn_config(app, workers), timer).run([listener])
        else:
            _supervise(settings, listener, workers, timer)


@contextmanager
def running(settings: Settings, database: Database, listener: socket.socket) -> Iterator[threading.Thread]:
    """Serve the app on `listener` from a thread of this process until the block ends."""
    server = uvicorn.Server(uvicorn_config(create_app(settings, database), 1))
    thread = threading.Thread(target=server.run, args=([listener],), name="nearfield-server", daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise Conflict("the server stopped during start-up; its log has the reason")
        time.sleep(0.01)
    try:
        yield thread
    finally:
        server.should_exit = True
        thread.join()


def _supervise(settings: Settings, listener: socket.socket, workers: int, timer: ShutdownTimer) -> None:
    with tempfile.TemporaryDirectory(prefix="nearfield-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        os.environ["NEARFIELD_DEVICE"] = settings.device
        os.environ["NEARFIELD_REQUIRE_KEYS"] = "1" if settings.require_keys else "0"
        config = uvicorn_config("api.server:worker", workers)
        Supervisor(config, [listener], timer).run()


class Supervisor(Multiprocess):
    """uvicorn's supervisor, with more time for workers that start. It removes the gauges of a worker that died."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], timer: ShutdownTimer):
        super().__init__(config, sockets)
        self._answered = set[int | None]()  # pids that answered a ping
        self._started_at = dict[int | None, float]()
        timer.handle_signals(self._on_signal)

    def _on_signal(self, number: int) -> None:
        """Act at once: the main loop may be waiting for a worker that does not answer."""
        self.should_exit.set()
        if number == signal.SIGTERM:  # a terminal sends SIGINT to every process
            for process in self.processes:
                process.process.terminate()

    def join_all(self) -> None:
        """Wait for the workers to end; kill those that do not end in time."""
        until = time.monotonic() + WORKER_S + 0.5
        for process in self.processes:
            process.process.join(max(until - time.monotonic(), 0.0))
            if process.process.is_alive():
                process.process.kill()
        super().join_all()

    def keep_subprocess_alive(self) -> None:
        before = {process.pid for process in self.processes}
        starting = [process for process in self.processes if self._is_starting(process)]
        self.processes = [process for process in self.processes if process not in starting]
        try:
            super().keep_subprocess_alive()
        finally:
            self.processes += starting
        for pid in before - {process.pid for process in self.processes}:
            mark_process_dead(pid)  # type: ignore[no-untyped-call]

    def _is_starting(self, process: Process) -> bool:
        if process.pid in self._answered or not process.process.is_alive():
            return False
        if process.ping(timeout=0.1):
            self._answered.add(process.pid)
            return False
        now = time.monotonic()
        return now - self._started_at.setdefault(process.pid, now) < START_S


def worker() -> FastAPI:
    """The app of one spawned worker; its settings come from the environment."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    settings = Settings()
    configure_logging(settings.log_level)
    capture_library_logs(settings.log_level)
    ShutdownTimer(WORKER_S).handle_signals()  # calls uvicorn's handlers too
    return freeze_gc(exit_without_database(create_app(settings, _wait_for_database(settings))))


def _wait_for_database(settings: Settings) -> Database:
    """The database, as soon as it can be opened. A worker that fails to start would end the other workers too."""
    backoff, logged = Backoff(RETRY_S, MAX_RETRY_S), ""
    while True:
        try:
            return open_server_database(settings)
        except StoreUnavailable as error:
            if str(error) != logged:
                log.warning("a worker waits for its database", error=str(error))
            logged = str(error)
            time.sleep(backoff.record_failure())


def freeze_gc(app: FastAPI) -> FastAPI:
    """For a process that only serves: imported objects are never garbage, so the collector skips them from now on."""
    gc.freeze()
    return app


def exit_without_database(app: FastAPI) -> FastAPI:
    """Make a worker that loses its database during start-up exit, so that the supervisor starts a new one."""
    start = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Mapping[str, Any]]:
        async with AsyncExitStack() as stack:
            try:
                state = await stack.enter_async_context(start(app))
            except StoreUnavailable as error:
                log.warning("a worker waits for its database", error=str(error))
                await asyncio.sleep(RETRY_S)
                os._exit(os.EX_TEMPFAIL)  # an exception would be a start-up failure to uvicorn, which ends every worker
            yield state or {}

    app.router.lifespan_context = lifespan
    return app


def uvicorn_config(app: FastAPI | str, workers: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        http=EarlyRejectionProtocol,
        workers=workers,
        log_config=None,  # see `capture_library_logs`
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_S,
        timeout_keep_alive=30,
        timeout_worker_healthcheck=HEALTH_S,
        backlog=1024,
    )


@contextmanager
def bound(host: str, port: int) -> Iterator[socket.socket]:
    """A listening socket. Conflict when the port is in use, InputError for an address or port that does not exist."""
    if not 0 <= port <= 65_535:  # getaddrinfo takes the port modulo 65,536
        raise InputError(f"expected a port of 0 to 65535, got {port}", loc=("port",))
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (socket.gaierror, OverflowError, UnicodeError) as error:
        raise InputError(f"cannot listen on {host}:{port}: {error}", loc=("host",)) from None
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(1024)
        except (OSError, OverflowError) as error:
            if getattr(error, "errno", None) == errno.EADDRINUSE:
                raise Conflict(f"port {port} on {host} is in use; stop that server or choose another --port") from None
            raise InputError(f"cannot listen on {host}:{port}: {error}", loc=("port",)) from None
        listener.set_inheritable(True)
        yield listener


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_key(database: Database, host: str) -> None:
    with database.connect() as conn:
        if not api_keys.any_live(conn):
            raise Conflict(f"{host} is beyond this machine and there is no key yet; run `nearfield keys create` first")
