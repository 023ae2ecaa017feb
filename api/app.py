"""create_app: the HTTP API of one database. Thin: it checks what comes in and says what the engine answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version

import structlog
from fastapi import FastAPI

from api import problems
from api.auth import Keyring
from api.auth_middleware import KeyFirst
from api.coalescing.event_writer import EventWriter
from api.coalescing.history_reader import HistoryReader
from api.deps import LiveSpaces
from api.limits.body_buffering import BodyBuffer
from api.limits.concurrency_limit import ConcurrencyLimit
from api.limits.concurrency_middleware import ConcurrencyMiddleware
from api.limits.deadline import DeadlineMiddleware
from api.limits.early_rejection import EarlyRejection
from api.limits.executors import CONNECTIONS, body_parsers, long_readers, readers, writers
from api.logs import RequestLog, configure
from api.messages.encoded_paths import EncodedSlashes
from api.monitoring.clock_skew import ClockSkew
from api.monitoring.metrics import Metrics, Timed
from api.monitoring.outage_log import OutageLog
from api.monitoring.view_gauges import set_view
from api.routes import events, health, items, keys, latent, model_reports, models, recommend, search, spaces, users
from engine.errors import NearfieldError
from engine.private_folders import restrict_access
from engine.settings import Settings
from engine.store import spaces as stored_spaces
from engine.store.database.connections import Database, open_database
from engine.store.database.liveness_probe import LivenessProbe
from engine.store.database.notifications import Listener, Notifier
from indexing.gpu.gpu_server import address
from indexing.live.recall_sampler import Sampler
from indexing.live.view import LiveView
from indexing.refresh.maintenance import Upkeep
from indexing.refresh.poller import Poller

log = structlog.get_logger()
LOCK_S = 10.0  # a write that waits so long for another transaction is told to come back
ROUTERS = (health, keys, recommend, model_reports, search, events, items, users, latent, models, spaces)


def _warm(live_spaces: LiveSpaces, name: str) -> None:
    """Open a space before the first request; one that cannot be opened is tried again by that, and stops no other."""
    try:
        live_spaces.view(name)
    except NearfieldError as error:
        log.error("a space could not be opened", space=name, error=str(error))


def open_served(settings: Settings) -> Database:
    """The database of one server."""
    return open_database(settings, pool_size=CONNECTIONS, lock_s=LOCK_S)


def _start_threads(app: FastAPI) -> None:
    app.state.readers, app.state.long_readers = readers(), long_readers()
    app.state.writers, app.state.body_parsers = writers(), body_parsers()
    asyncio.get_running_loop().set_default_executor(app.state.readers)


def _shut_down_threads(app: FastAPI) -> None:
    for threads in (app.state.readers, app.state.long_readers, app.state.writers, app.state.body_parsers):
        threads.shutdown(wait=False, cancel_futures=True)
    # A loop that ends waits for the threads of its default executor: it gets a pool without threads.
    asyncio.get_running_loop().set_default_executor(readers())


def create_app(settings: Settings, database: Database | None = None) -> FastAPI:
    """The app over `database`, which stays open after it; without one it opens that of `settings` and closes it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, object]]:
        opened = database or open_served(settings)
        for folder in (settings.generations, settings.checkpoints):
            restrict_access(folder)
        app.state.database, liveness_probe = opened, LivenessProbe(opened)
        app.state.history_reader = HistoryReader(opened, settings.history_limit)
        app.state.keyring = Keyring(opened, settings.require_keys)
        app.state.keyring.closed()  # asked once, so that a worker nobody called yet answers while PostgreSQL is away
        app.state.clock = ClockSkew(opened, metrics)
        notifier = Notifier(opened)
        app.state.sampler = Sampler(observe=metrics.observe_search)
        upkeep = Upkeep(opened, settings.generations, partial(configure, settings.log_level))
        owner = "" if settings.device == "cpu" else address(settings.home, settings.device)
        app.state.live_spaces = LiveSpaces(
            opened, settings.generations, notifier, app.state.sampler, owner, gone=metrics.forget
        )
        _start_threads(app)
        app.state.event_writer = EventWriter(opened, app.state.writers)
        with opened.begin() as conn:
            stored_spaces.ensure(conn, "default")
            names = [space.name for space in stored_spaces.list_all(conn)]
        for name in names:
            _warm(app.state.live_spaces, name)

        def looked(view: LiveView) -> None:
            if not view.stale:
                app.state.outage_log.database_available()
                app.state.clock.looked(view.space)
            set_view(metrics, app.state.live_spaces, view, app.state.sampler.recall_in(view.space.name))
            upkeep(view)

        poller = Poller(app.state.live_spaces, settings.poll_s, Listener(opened), after=looked)
        poller.start()
        try:
            rejections = metrics.refused.labels("429")
            yield {"early_rejection": EarlyRejection(concurrency_limit, rejections, settings.max_body_bytes)}
        finally:
            poller.stop()
            upkeep.close()
            for each in (app.state.sampler, notifier, liveness_probe, app.state.keyring, app.state.event_writer):
                each.close()
            _shut_down_threads(app)
            if database is None:
                opened.close()

    metrics = Metrics()
    concurrency_limit = ConcurrencyLimit(
        max_active=settings.max_active, max_waiting=settings.max_waiting, max_wait_s=settings.max_wait_s
    )
    app = FastAPI(title="nearfield", version=version("nearfield"), lifespan=lifespan)
    app.state.settings, app.state.metrics, app.state.outage_log = settings, metrics, OutageLog()
    app.state.concurrency_limit = concurrency_limit
    for module in ROUTERS:
        app.include_router(module.router)
    _add_middleware(app, settings, metrics, concurrency_limit)
    return app


def _add_middleware(app: FastAPI, settings: Settings, metrics: Metrics, concurrency_limit: ConcurrencyLimit) -> None:
    """In the order from the endpoint outwards: a request passes the last one first."""
    problems.install(app)
    app.add_middleware(DeadlineMiddleware)
    app.add_middleware(ConcurrencyMiddleware, metrics=metrics, concurrency_limit=concurrency_limit)
    app.add_middleware(
        BodyBuffer,
        metrics=metrics,
        max_bytes=settings.max_body_bytes,
        max_seconds=settings.max_body_s,
        max_total_bytes=settings.max_bodies_bytes,
    )
    app.add_middleware(KeyFirst, routers=[module.router for module in ROUTERS])
    app.add_middleware(EncodedSlashes)
    app.add_middleware(Timed, metrics=metrics)
    app.add_middleware(RequestLog)
