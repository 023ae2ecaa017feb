"""Requests per second of a server, compared with stub routes in the same process.

The stub of `recommend` makes the same database query (the history of the user) and returns a constant of the same size,
so the ratio shows the cost of the recommendation itself. `search` makes no database query; its stub returns a constant.
Events are written one per request; their stub is a transaction of one statement, flushed to disk. Users have live
histories; items are generated (made_items.py). The server is the app of the product with the stub routes added, in its
own process; the load comes from a third process (http_load.py).

    python scripts/bench_serve.py [--items 100000] [--users 2000] [--events 30] [--connections 16] [--json]

Rows: recommend without seen items, the same with POST, with a filter that a tenth of the items match, search by item,
events, recommend at half of its maximum rate, recommend with 2 workers, and the memory of each server process. The
routes alternate in rounds; figures are medians of the rounds. Text goes to stderr; --json writes one object per row to
stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
from fastapi import FastAPI, Response
from http_load import Figures, Load, get, measure, post
from made_items import clustered, store
from uvicorn import Server
from uvicorn.supervisors import Multiprocess

from api.app import create_app, open_server_database
from api.logs import configure_logging
from api.server import bound, freeze_gc, uvicorn_config
from engine.errors import NearfieldError
from engine.settings import Settings
from engine.store import events
from engine.store.change_feeds.snapshots import transaction_seq
from engine.store.database.connections import Database, open_database
from engine.store.spaces import Space
from engine.values.vectors import Matrix
from indexing.building.build import build_generation
from indexing.building.publish import publish

SPACE, K = "bench", 10
TENTH = {"price": {"lt": 31}}  # generated prices are uniform from 1 to 299


@dataclass(frozen=True)
class Route:
    name: str
    requests: list[bytes]
    stub: str | None  # the row to compare with


def main() -> None:
    options = arguments()
    if options.serve is not None:
        serve(options.serve, options.workers)
        return
    try:
        run(options)
    except NearfieldError as error:
        raise SystemExit(f"bench_serve: {error}") from None


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_shop(parser)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5.0, help="duration of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=2, help="number of workers of the last rows")
    return parser.parse_args()


def add_shop(parser: argparse.ArgumentParser) -> None:
    """The options of `fill` and of the output."""
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--users", type=int, default=2000, help="at most 2000")
    parser.add_argument("--events", type=int, default=30, help="events in the history of each user")
    parser.add_argument("--recipe", default="auto")
    parser.add_argument("--json", action="store_true", help="one JSON object per row")


def run(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder) / "home")
        with open_database(settings) as database:
            started = time.perf_counter()
            users, items = fill(database, settings, options)
            tell(f"{options.items} items and {len(users)} users ready after {time.perf_counter() - started:.0f} s")
        rows = [*one_worker(settings, users, items, options), *several_workers(settings, users, options)]
    if options.json:
        for row in rows:
            print(json.dumps(row))


def tell(text: str) -> None:
    """Text for people goes to stderr; the rows on stdout are for programs."""
    print(text, file=sys.stderr, flush=True)


def fill(database: Database, settings: Settings, options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Create users with histories and a served generation; returns user ids and item ids for the requests."""
    vectors = clustered(options.items, options.dim)
    space, version = store(database, SPACE, vectors, metric="dot")
    users = [f"user-{row:05d}" for row in range(options.users)]
    add_events(database, space, vectors, users, options.events)
    publish(
        database,
        space,
        build_generation(database, space, version, settings.generations, recipe=options.recipe),
        settings.generations,
    )
    draw = np.random.default_rng(1)
    return users, [f"item-{row:07d}" for row in draw.integers(0, options.items, 2000)]


def add_events(database: Database, space: Space, vectors: Matrix, users: Sequence[str], n: int) -> None:
    """`n` views for each user, of items near a random item."""
    draw = np.random.default_rng(2)
    starts = draw.integers(0, len(vectors), len(users))
    width = min(len(vectors) - 1, 10 * n)
    rows = []
    for start in starts:
        near = np.argpartition(-(vectors @ vectors[start]), width)[:width]
        rows.append(draw.choice(near, n, replace=False))
    seen = np.concatenate(rows)
    at = np.datetime64("2026-01-01", "us") + np.arange(len(seen)).astype("timedelta64[m]")
    table = pa.table(
        {
            "event_id": [f"event-{row:08d}" for row in range(len(seen))],
            "user_id": np.repeat(users, n).tolist(),
            "item_id": [f"item-{row:07d}" for row in seen],
            "kind": ["view"] * len(seen),
            "value": pa.array(np.ones(len(seen), np.float32)),
            "occurred_at": pa.array(at, pa.timestamp("us", "UTC")),
        }
    )
    with database.begin() as conn:
        events.bulk_append(conn, space.key, table)


def one_worker(
    settings: Settings, users: list[str], items: list[str], options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    path = f"/v1/{SPACE}"
    wanted = [{"user_id": user, "k": K} for user in users]
    clicks = [{"user_id": f"clicks-{user}", "item_id": item} for user, item in zip(users, cycle(items), strict=False)]
    routes = [
        Route("stub: history", [get(f"/stub/history?user_id={user}") for user in users], None),
        Route("stub: constant", [get("/stub/constant")], None),
        Route("recommend", [get(f"{path}/recommend?user_id={user}&k={K}") for user in users], "stub: history"),
        Route("recommend, POST", [post(f"{path}/recommend", _json(body)) for body in wanted], "stub: history"),
        Route(
            "recommend, filter of 10%",
            [post(f"{path}/recommend", _json({**body, "filter": TENTH})) for body in wanted],
            "stub: history",
        ),
        Route("search by item", [get(f"{path}/search?item_id={item}&k={K}") for item in items], "stub: constant"),
        Route("stub: transaction", [post("/stub/transaction", b"")], None),
        Route("events", [post(f"{path}/events", _json({"events": [click]})) for click in clicks], "stub: transaction"),
    ]
    with server(settings, 1) as (port, process):
        known = [route for route in routes if answers(port, route)]
        rounds = [{route.name: load(port, route.requests, options) for route in known} for _ in range(options.rounds)]
        figures = {route.name: median([each[route.name] for each in rounds]) for route in known}
        for route in known:
            yield row(route.name, figures[route.name], options, 1, figures[route.stub].rps if route.stub else None)
        most = figures["recommend"].rps
        half = measure(Load(port, routes[2].requests, options.connections, 2 * options.seconds, most / 2))
        yield row("recommend at half load", half, options, 1, None)
        yield from memory(process, 1)


def several_workers(settings: Settings, users: list[str], options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    if options.workers < 2:
        return
    requests = {
        "stub: history": [get(f"/stub/history?user_id={user}") for user in users],
        "recommend": [get(f"/v1/{SPACE}/recommend?user_id={user}&k={K}") for user in users],
    }
    with server(settings, options.workers) as (port, process):
        found = {
            name: median([load(port, each, options) for _ in range(options.rounds)]) for name, each in requests.items()
        }
        for name, figures in found.items():
            stub = found["stub: history"].rps if name == "recommend" else None
            yield row(name, figures, options, options.workers, stub)
        yield from memory(process, options.workers)


def row(name: str, found: Figures, options: argparse.Namespace, workers: int, stub: float | None) -> dict[str, Any]:
    ratio = None if stub is None else round(found.rps / stub, 3)
    tell(
        f"{name:<26} {workers} worker(s) {found.rps:8.0f}/s  p50 {found.p50_ms:6.2f} ms  p99 {found.p99_ms:6.2f} ms  "
        f"ratio {ratio or '-'}  errors {found.errors}  load generator busy {found.client_share:.0%}"
    )
    return {
        "route": name,
        "connections": options.connections,
        "workers": workers,
        "rps": round(found.rps, 1),
        "p50_ms": round(found.p50_ms, 3),
        "p99_ms": round(found.p99_ms, 3),
        "ratio_to_stub": ratio,
        "errors": found.errors,
    }


def memory(process: psutil.Process, workers: int) -> Iterator[dict[str, Any]]:
    """The memory of each server process: its own, and with the pages of index files that processes share."""
    for each in [process, *process.children(recursive=True)]:
        if "postgres" not in each.name() and "resource_tracker" not in " ".join(each.cmdline()):
            found = each.memory_full_info()
            own, all_of_it = found.uss / 2**20, found.rss / 2**20
            tell(f"process {each.pid}: {own:.0f} MB of its own, {all_of_it:.0f} MB with shared pages")
            yield {"process": each.pid, "workers": workers, "own_mb": round(own, 1), "rss_mb": round(all_of_it, 1)}


def load(port: int, requests: list[bytes], options: argparse.Namespace) -> Figures:
    return measure(Load(port, requests, options.connections, options.seconds, warm_s=min(1.0, options.seconds)))


def median(found: Sequence[Figures]) -> Figures:
    names = ("rps", "p50_ms", "p99_ms", "client_share")
    middle = {name: statistics.median(getattr(each, name) for each in found) for name in names}
    return Figures(errors=sum(each.errors for each in found), **middle)


def answers(port: int, route: Route) -> bool:
    """Whether the server accepts this request; an older version may not, and the row is then left out."""
    found = measure(Load(port, route.requests[:1], 1, 0.2, warm_s=0))
    if found.errors:
        tell(f"{route.name}: this version of the server does not answer it; left out")
    return not found.errors


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()


# The server process


@contextmanager
def server(settings: Settings, workers: int) -> Iterator[tuple[int, psutil.Process]]:
    """A server process with the stubs; (port, process)."""
    with bound("127.0.0.1", 0) as probe:
        port = int(probe.getsockname()[1])
    environment = {**os.environ, "NEARFIELD_HOME": str(settings.home), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--serve", str(port), "--workers", str(workers)]
    with subprocess.Popen(command, env=environment | {"OPENBLAS_NUM_THREADS": "1"}) as process:
        try:
            until = time.monotonic() + 120
            while not ready(port):
                if process.poll() is not None or time.monotonic() > until:
                    raise SystemExit("bench_serve: the server did not start")
                time.sleep(0.1)
            yield port, psutil.Process(process.pid)
        finally:
            process.terminate()


def ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def serve(port: int, workers: int) -> None:
    """As `nearfield serve`, with the stub routes."""
    settings = Settings()
    with bound("127.0.0.1", port) as listener, open_server_database(settings) as database:
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))  # leaves this block and closes the database
        if workers == 1:
            configure_logging("warning")
            Server(uvicorn_config(freeze_gc(with_stubs(create_app(settings, database))), 1)).run([listener])
        else:
            with tempfile.TemporaryDirectory() as folder:
                os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
                Multiprocess(uvicorn_config("bench_serve:worker", workers), sockets=[listener]).run()


def worker() -> FastAPI:
    configure_logging("warning")
    return freeze_gc(with_stubs(create_app(Settings())))


def with_stubs(app: FastAPI) -> FastAPI:
    """Add the stub routes to the app: one reads a history, one commits a transaction, one returns a constant."""
    constant = _json({"items": [{"item_id": f"item-{n:07d}", "score": 0.1, "title": "A" * 60} for n in range(K)]})

    @app.get("/stub/history")
    def history(user_id: str) -> Response:
        database, settings = app.state.database, app.state.settings
        key = app.state.live_spaces.view(SPACE).space.key
        with database.connect() as conn:
            events.history(conn, key, user_id, settings.history_limit)
        return Response(constant, media_type="application/json")

    @app.post("/stub/transaction")
    def transaction() -> Response:
        with app.state.database.begin() as conn:
            transaction_seq(conn)
        return Response(constant, media_type="application/json")

    @app.get("/stub/constant")
    def nothing() -> Response:
        return Response(constant, media_type="application/json")

    return app


if __name__ == "__main__":
    main()
