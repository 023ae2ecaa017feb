"""create_app: the FastAPI app over one database, with its middleware and background services."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version

import structlog
from fastapi import FastAPI

from api import problems
from api.auth import Keyring
from api.auth_middleware import AuthMiddleware
from api.coalescing.event_writer import EventWriter
from api.coalescing.history_reader import HistoryReader
from api.deps import LiveSpaces
from api.limits.body_buffering import BodyBuffer
from api.limits.concurrency_limit import ConcurrencyLimit
from api.limits.concurrency_middleware import ConcurrencyMiddleware
from api.limits.deadline import DeadlineMiddleware
from api.limits.early_rejection import EarlyRejection
from api.limits.executors import CONNECTIONS, body_parsers, long_readers, readers, writers
from api.logs import RequestLog, configure_logging
from api.merchandising.preset_problems import preset_problems
from api.messages.encoded_paths import EncodedPaths
from api.monitoring.clock_skew import ClockSkew
from api.monitoring.metrics import Metrics, RequestMetrics
from api.monitoring.outage_log import OutageLog
from api.monitoring.view_gauges import set_view
from api.routes import events, health, items, keys, latent, model_reports, models, recommend, search, spaces, users
from api.routes.merchandising import changes, page, pages, placements, rules, segments, values
from api.served.shelf_writer import ShelfWriter
from engine.errors import NearfieldError
from engine.private_folders import restrict_access
from engine.settings import Settings
from engine.store import spaces as stored_spaces
from engine.store.database.connections import Database, open_database
from engine.store.database.liveness_probe import LivenessProbe
from engine.store.database.notifications import Listener, Notifier
from indexing.gpu.gpu_server import address
from indexing.live.recall_sampler import RecallSampler
from indexing.live.view import LiveView
from indexing.refresh.maintenance import Maintenance
from indexing.refresh.poller import Poller

log = structlog.get_logger()
LOCK_TIMEOUT_S = 10.0  # a write that waits so long for a lock of another transaction is answered with 503
# in the order in which paths are matched: the routes with the most requests first
ROUTERS = (
    recommend,
    search,
    events,
    health,
    keys,
    model_reports,
    items,
    values,
    changes,
    page,
    pages,
    placements,
    rules,
    segments,
    users,
    latent,
    models,
    spaces,
)


def open_server_database(settings: Settings) -> Database:
    """The database, with a connection pool of the size that one server process needs."""
    return open_database(settings, pool_size=CONNECTIONS, lock_s=LOCK_TIMEOUT_S)


def create_app(settings: Settings, database: Database | None = None) -> FastAPI:
    """The app over `database`, which stays open when the app ends. Without `database` the app opens the database of
    `settings` when it starts and closes it when it ends."""
    metrics = Metrics()
    concurrency_limit = ConcurrencyLimit(
        max_active=settings.max_active, max_waiting=settings.max_waiting, max_wait_s=settings.max_wait_s
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, object]]:
        opened = database or open_server_database(settings)
        for folder in (settings.generations, settings.checkpoints):
            restrict_access(folder)
        stop_services = _start_services(app, settings, opened)
        try:
            rejections = metrics.refused.labels("429")
            yield {"early_rejection": EarlyRejection(concurrency_limit, rejections, settings.max_body_bytes)}
        finally:
            stop_services()
            _shut_down_executors(app)
            if database is None:
                opened.close()

    app = FastAPI(title="nearfield", version=version("nearfield"), lifespan=lifespan)
    app.state.settings, app.state.metrics, app.state.outage_log = settings, metrics, OutageLog()
    app.state.concurrency_limit = concurrency_limit
    for module in ROUTERS:
        app.include_router(module.router)
    _add_middleware(app, settings, metrics, concurrency_limit)
    return app


def _start_services(app: FastAPI, settings: Settings, database: Database) -> Callable[[], None]:
    """Put into `app.state` what requests use, open every space and start the poller. Returns the function that stops
    and closes all of it."""
    state, metrics = app.state, app.state.metrics
    state.database, liveness_probe = database, LivenessProbe(database)
    state.history_reader = HistoryReader(database, settings.history_limit)
    state.keyring = Keyring(database, settings.require_keys)
    state.keyring.requires_key()  # cached, so that a new worker answers while PostgreSQL is unreachable
    state.clock_skew = ClockSkew(database, metrics)
    notifier = Notifier(database)
    state.sampler = RecallSampler(observe=metrics.observe_search)
    maintenance = Maintenance(
        database, settings.generations, partial(configure_logging, settings.log_level), settings.keep_shelves_days
    )
    gpu_address = "" if settings.device == "cpu" else address(settings.home, settings.device)
    state.live_spaces = LiveSpaces(
        database, settings.generations, notifier, state.sampler, gpu_address, on_removed=metrics.forget
    )
    _start_executors(app)
    state.shelf_writer = ShelfWriter(database, metrics, settings.keep_shelves_days)
    state.event_writer = EventWriter(database, state.writers)
    with database.begin() as conn:
        stored_spaces.ensure(conn, "default")
        names = [space.name for space in stored_spaces.list_all(conn)]
    for name in names:
        _open_space(state.live_spaces, name)

    def after_poll(view: LiveView) -> None:
        if not view.stale:
            state.outage_log.database_available()
            state.clock_skew.update(view.space)
        set_view(metrics, state.live_spaces, view, state.sampler.recall_in(view.space.name), len(preset_problems(view)))
        maintenance(view)

    poller = Poller(state.live_spaces, settings.poll_s, Listener(database), after=after_poll)
    poller.start()

    def stop_services() -> None:
        poller.stop()
        services = (state.shelf_writer, maintenance, state.sampler, notifier, liveness_probe, state.keyring)
        for service in (*services, state.event_writer):
            service.close()

    return stop_services


def _open_space(live_spaces: LiveSpaces, name: str) -> None:
    """Open a space before its first request. A failure is logged; the first request tries again."""
    try:
        live_spaces.view(name)
    except NearfieldError as error:
        log.error("a space could not be opened", space=name, error=str(error))


def _start_executors(app: FastAPI) -> None:
    app.state.readers, app.state.long_readers = readers(), long_readers()
    app.state.writers, app.state.body_parsers = writers(), body_parsers()
    asyncio.get_running_loop().set_default_executor(app.state.readers)


def _shut_down_executors(app: FastAPI) -> None:
    for executor in (app.state.readers, app.state.long_readers, app.state.writers, app.state.body_parsers):
        executor.shutdown(wait=False, cancel_futures=True)
    # The event loop waits for the threads of its default executor when it ends; a new pool has no threads yet.
    asyncio.get_running_loop().set_default_executor(readers())


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
    app.add_middleware(AuthMiddleware, routers=[module.router for module in ROUTERS])
    app.add_middleware(EncodedPaths)
    app.add_middleware(RequestMetrics, metrics=metrics)
    app.add_middleware(RequestLog)
