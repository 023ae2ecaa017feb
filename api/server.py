"""serve: the app under uvicorn, in this process or in spawned workers that are replaced when they die."""

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
from api.shutdown import DRAIN_S, LAST_S, WORKER_S, Ending, EndingServer
from engine.backoff import Backoff
from engine.errors import Conflict, InputError, StoreUnavailable
from engine.settings import Settings
from engine.store import api_keys
from engine.store.database.connections import Database
from indexing.gpu.gpu_process import gpu_process

log = structlog.get_logger()
HEALTH_S = 15  # a worker that is silent for so long is replaced; 5 is soon passed on a busy machine
START_S = 120  # and so long where nothing was heard of it yet: until what it imports is there, it has no voice
RETRY_S, WAIT_S = 1.0, 10.0  # between tries to reach the database, at first and at most
SET_PARENT_DEATH_SIGNAL = 1  # prctl(2), Linux: a worker does not outlive a killed parent and hold its port


def serve(
    settings: Settings, host: str, port: int, workers: int, tell: Callable[[int], None] = lambda port: None
) -> None:
    """Answer until SIGTERM or SIGINT, then finish what was begun and end, within 10 s.

    `tell` the port once nothing speaks against it.

    Raises Conflict for a port in use, or an address beyond loopback while there is no key.
    """
    configure_logging(settings.log_level)
    capture_library_logs(settings.log_level)
    if workers < 1:
        raise InputError(f"expected at least 1 worker, got {workers}", loc=("workers",))
    with (
        Ending(LAST_S) as ending,
        bound(host, port) as listener,
        gpu_process(settings.home, settings.device),
        open_server_database(settings) as database,
    ):
        if not is_loopback(host):
            _check_key(database, host)
            settings = settings.model_copy(update={"require_keys": True})
        tell(listener.getsockname()[1])
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))  # so that the database is closed
        ending.last = database.close_without_waiting
        ending.heed()
        if workers == 1:
            EndingServer(uvicorn_config(settled(create_app(settings, database)), workers), ending).run([listener])
        else:
            _supervise(settings, listener, workers, ending)


@contextmanager
def running(settings: Settings, database: Database, listener: socket.socket) -> Iterator[threading.Thread]:
    """The app answering on `listener` from a thread of this process, until the block ends."""
    server = uvicorn.Server(uvicorn_config(create_app(settings, database), 1))
    thread = threading.Thread(target=server.run, args=([listener],), name="nearfield-server", daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise Conflict("the server stopped while it started; its log has the reason")
        time.sleep(0.01)
    try:
        yield thread
    finally:
        server.should_exit = True
        thread.join()


def _supervise(settings: Settings, listener: socket.socket, workers: int, ending: Ending) -> None:
    with tempfile.TemporaryDirectory(prefix="nearfield-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        os.environ["NEARFIELD_DEVICE"] = settings.device
        os.environ["NEARFIELD_REQUIRE_KEYS"] = "1" if settings.require_keys else "0"
        config = uvicorn_config("api.server:worker", workers)
        Supervisor(config, [listener], ending).run()


class Supervisor(Multiprocess):
    """uvicorn's, with patience for workers that start, and the gauges of a worker that died go with it."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], ending: Ending):
        super().__init__(config, sockets)
        self._heard = set[int | None]()
        self._begun = dict[int | None, float]()
        ending.heed(self._end)

    def _end(self, number: int) -> None:
        """At once: it may be waiting for a worker that says nothing."""
        self.should_exit.set()
        if number == signal.SIGTERM:  # the other one comes from a terminal, to every process
            for process in self.processes:
                process.process.terminate()

    def join_all(self) -> None:
        """Each ends by itself in time, or is killed."""
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
        if process.pid in self._heard or not process.process.is_alive():
            return False
        if process.ping(timeout=0.1):
            self._heard.add(process.pid)
            return False
        now = time.monotonic()
        return now - self._begun.setdefault(process.pid, now) < START_S


def worker() -> FastAPI:
    """The app of one spawned worker; its settings come from the environment."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    settings = Settings()
    configure_logging(settings.log_level)
    capture_library_logs(settings.log_level)
    Ending(WORKER_S).heed()  # uvicorn heeds signals already
    return settled(patient(create_app(settings, _waited_for(settings))))


def _waited_for(settings: Settings) -> Database:
    """The database once it can be opened: a failure to start would end the other workers too, which go on answering."""
    waits, told = Backoff(RETRY_S, WAIT_S), ""
    while True:
        try:
            return open_server_database(settings)
        except StoreUnavailable as error:
            if str(error) != told:
                log.warning("a worker waits for its database", error=str(error))
            told = str(error)
            time.sleep(waits.record_failure())


def settled(app: FastAPI) -> FastAPI:
    """The app of a process that is there for it alone: what was imported is never garbage, and not looked at again."""
    gc.freeze()
    return app


def patient(app: FastAPI) -> FastAPI:
    """The app of a worker, which ends as above where it loses its database while it starts."""
    begin = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Mapping[str, Any]]:
        async with AsyncExitStack() as stack:
            try:
                state = await stack.enter_async_context(begin(app))
            except StoreUnavailable as error:
                log.warning("a worker waits for its database", error=str(error))
                await asyncio.sleep(RETRY_S)
                os._exit(os.EX_TEMPFAIL)  # whatever is raised here is a failure to start to uvicorn
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
    """A listening socket; Conflict says when the port is taken, InputError when there is no such address."""
    if not 0 <= port <= 65_535:  # getaddrinfo takes it modulo 65,536
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
