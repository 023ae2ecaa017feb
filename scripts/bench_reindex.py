"""Time and memory of building and publishing a generation from vectors in PostgreSQL, and the effect on requests.

The build runs in a separate process with all cores, as `nearfield index` and `nearfield publish` do. Then a server with
one worker answers `search` on 4 connections while a second generation is published. Failed requests are counted over
the whole run. p99 is given for the time before the publication, and from the publication to two seconds after the first
answer of the new generation.

    python scripts/bench_reindex.py [--n 1000000] [--dim 64] [--recipe auto] [--no-swap] [--json]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from made_items import clustered, store

from engine.settings import Settings
from engine.store import spaces
from engine.store.database.connections import Database, open_database
from indexing.building.build import build_generation
from indexing.building.publish import publish

CONNECTIONS, BEFORE_S, AFTER_S, WAIT_S = 4, 8.0, 2.0, 120.0
SPACE = "bench"


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder))
        with open_database(settings) as database:
            store(database, SPACE, clustered(options.n, options.dim))
            line: dict[str, Any] = {"n": options.n, "dim": options.dim}
            line |= _built(database.url, settings.generations, options.recipe)
            if not options.no_swap:
                line |= _swapped(settings, database, options)
    print(json.dumps(line) if options.json else "  ".join(f"{name} {value}" for name, value in line.items()))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--recipe", default="auto")
    parser.add_argument("--no-swap", action="store_true")
    parser.add_argument("--json", action="store_true", help="one JSON line")
    return parser.parse_args()


def _built(url: str, folder: Path, recipe: str) -> dict[str, Any]:
    """Seconds and peak memory of a process that builds and publishes."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_build, args=(theirs, url, folder, recipe))
    process.start()
    theirs.close()
    seconds, peak_mb, steps = ours.recv()
    process.join()
    print("  ".join(f"{name} {took:.1f} s" for name, took in steps), file=sys.stderr)
    return {"seconds": round(seconds, 2), "peak_mb": round(peak_mb)}


def _build(out: Any, url: str, folder: Path, recipe: str) -> None:
    database = Database(url, pool_size=2)
    with database.begin() as conn:
        space = spaces.get(conn, SPACE)
    started = time.perf_counter()
    marks = [("start", started)]

    def mark(what: str, share: float) -> None:
        marks.append((what, time.perf_counter()))

    name = build_generation(database, space, 1, folder, recipe=recipe, progress=mark)
    publish(database, space, name, folder)
    marks.append(("published", time.perf_counter()))
    steps = [(what, later - at) for (what, at), (_, later) in pairwise(marks[1:])]
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    out.send((marks[-1][1] - started, peak_mb, steps))
    database.close()


class Load:
    """Clients that send searches in a loop; `answers` are (time, seconds, generation or None for a failure)."""

    def __init__(self, port: int, n: int):
        self.answers: list[tuple[float, float, str | None]] = []
        self._stop = threading.Event()
        self._url, self._n = f"http://127.0.0.1:{port}/v1/{SPACE}/search", n
        self._threads = [threading.Thread(target=self._run, args=[seed]) for seed in range(CONNECTIONS)]
        for thread in self._threads:
            thread.start()

    def _run(self, seed: int) -> None:
        draw = np.random.default_rng(seed)
        with httpx.Client(timeout=30) as client:
            while not self._stop.is_set():
                started = time.perf_counter()
                try:
                    found = client.get(self._url, params={"item_id": f"item-{draw.integers(self._n):07d}", "k": 20})
                    generation = found.json()["generation"] if found.status_code == 200 else None
                except httpx.HTTPError:
                    generation = None
                self.answers.append((started, time.perf_counter() - started, generation))

    def close(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def _swapped(settings: Settings, database: Database, options: argparse.Namespace) -> dict[str, Any]:
    with database.begin() as conn:
        space = spaces.get(conn, SPACE)
    following = build_generation(database, space, 1, settings.generations, recipe=options.recipe)
    with serving(settings) as (port, _):
        load = Load(port, options.n)
        time.sleep(BEFORE_S)
        published = time.perf_counter()
        publish(database, space, following, settings.generations)
        until = published + WAIT_S
        while not any(name == following for _, _, name in load.answers[-100:]) and time.perf_counter() < until:
            time.sleep(0.02)
        swapped = time.perf_counter()
        time.sleep(AFTER_S)
        load.close()
    return _figures(load.answers, published, swapped)


@contextmanager
def serving(settings: Settings) -> Iterator[tuple[int, int]]:
    """Run a server with one worker; yields its port and process id."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "api.cli.main", "serve", "--port", str(port)]
    environment = os.environ | {"NEARFIELD_HOME": str(settings.home), "NEARFIELD_POLL_S": str(settings.poll_s)}
    server = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        _await(port)
        yield port, server.pid
    finally:
        server.terminate()
        server.wait()


def _figures(answers: list[tuple[float, float, str | None]], published: float, swapped: float) -> dict[str, Any]:
    before = [seconds for at, seconds, _ in answers if at < published]
    during = [seconds for at, seconds, _ in answers if at >= published]
    p99 = [float(np.percentile(part, 99)) * 1e3 for part in (before, during)]
    return {
        "failed_requests": sum(name is None for _, _, name in answers),
        "requests": len(answers),
        "swap_s": round(swapped - published, 2),
        "p99_before_ms": round(p99[0], 2),
        "p99_during_ms": round(p99[1], 2),
    }


def _await(port: int) -> None:
    for _ in range(600):
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise SystemExit("bench_reindex: the server did not start")


if __name__ == "__main__":
    main()
