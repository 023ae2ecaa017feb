"""Time from the acknowledgement of a write until every worker shows it.

A separate server with two workers runs under the load of some clients that ask for recommendations. Each change is
written through one connection; then every worker is asked until it shows the change. A connection stays with one
worker; many connections are opened to reach all workers. Separate rounds measure reads with `min_seq`, because such a
read makes a worker look for changes: each connection asks with the write's seq as soon as the write is acknowledged.
`asked` counts these reads, `wrong` counts answers with older state, `refused` counts answers 503, which show no state
and are retried.

    python scripts/bench_freshness.py [--items 20000] [--rounds 60] [--workers 2] [--load 4] [--json]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from made_items import clustered, store

from engine.settings import Settings
from engine.store.database.connections import open_database
from indexing.building.build import build_generation
from indexing.building.publish import publish

SPACE, GIVE_UP_S, CONNECTIONS = "bench", 10.0, 24
Shows = Callable[[httpx.Response], bool]
CHANGES = ("event", "new item", "price change", "out of stock", "delete")


def main() -> None:
    args = _arguments()
    with tempfile.TemporaryDirectory(prefix="nearfield-bench-") as folder:
        settings = Settings(home=Path(folder))
        _fill(settings, args.items)
        with _serving(settings, args.workers) as url, _load(url, args.load, args.items):
            rows = measure(url, args)
    for row in rows:
        print(json.dumps(row) if args.json else "  ".join(f"{name} {value}" for name, value in row.items()), flush=True)


def measure(url: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each kind of change; rounds of all kinds take turns."""
    clients = [httpx.Client(base_url=url, timeout=30) for _ in range(CONNECTIONS)]
    seconds: dict[str, list[float]] = {name: [] for name in CHANGES}
    checks: dict[str, list[Checked]] = {name: [] for name in CHANGES}
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for turn in range(2 * args.rounds):
            for name, write, path, shows in _changes(turn):
                seq = write(clients[turn % CONNECTIONS])
                if turn % 2:
                    asked = f"{path}{'&' if '?' in path else '?'}min_seq={seq}"
                    checks[name] += pool.map(checked, clients, repeat(asked), repeat(shows))
                else:
                    written = repeat(time.perf_counter())
                    seconds[name].append(max(pool.map(_seen_s, clients, repeat(path), repeat(shows), written)))
    for client in clients:
        client.close()
    return [_row(name, seconds[name], checks[name]) for name in CHANGES]


def _seen_s(client: httpx.Client, path: str, shows: Shows, since: float) -> float:
    """From `since` to the first answer that shows a change."""
    while not shows(client.get(path)):
        if time.perf_counter() - since > GIVE_UP_S:
            return GIVE_UP_S
    return time.perf_counter() - since


@dataclass(frozen=True)
class Checked:
    """The result of a read with min_seq; `shown` is None if all answers were 503."""

    shown: bool | None
    refused: int


def checked(client: httpx.Client, path: str, shows: Shows, within_s: float = GIVE_UP_S) -> Checked:
    """Ask until there is an answer other than 503."""
    until = time.perf_counter() + within_s
    for refused in itertools.count():
        answer = client.get(path)
        if answer.status_code != 503:
            return Checked(shows(answer), refused)
        if time.perf_counter() > until:
            break
    return Checked(None, refused + 1)


def _row(name: str, seconds: list[float], checks: list[Checked]) -> dict[str, Any]:
    """`p50_ms` and `p99_ms` from the acknowledged write to the last worker that shows it."""
    ms = [1000 * value for value in seconds]
    return {
        "change": name,
        "p50_ms": round(statistics.median(ms), 2),
        "p99_ms": round(float(np.percentile(ms, 99)), 2),
        "asked": len(checks),
        "wrong": sum(each.shown is False for each in checks),
        "refused": sum(each.refused for each in checks),
        "never_answered": sum(each.shown is None for each in checks),
    }


Change = tuple[str, Callable[[httpx.Client], int], str, Shows]


def _changes(turn: int) -> Iterator[Change]:
    """Name, the write (-> seq), a read, and whether its answer shows the write."""
    item, user = f"fresh-{turn}", f"fresh-user-{turn}"

    def put(body: dict[str, Any]) -> Callable[[httpx.Client], int]:
        return lambda client: int(client.put(f"items/{item}", json=body).raise_for_status().json()["seq"])

    def event(client: httpx.Client) -> int:
        body = [{"user_id": user, "item_id": f"item-{turn:07d}", "kind": "view"}]
        return int(client.post("events", json=body).raise_for_status().json()["seq"])

    def out(client: httpx.Client) -> int:
        body = {"items": [{"item_id": item, "available": False}]}
        return int(client.post("items/availability", json=body).raise_for_status().json()["seq"])

    def shelf(condition: dict[str, Any]) -> str:
        asked = httpx.QueryParams({"k": 1, "fill": "new", "filter": json.dumps(condition)})
        return f"recommend?{asked}"

    def listed(answer: httpx.Response) -> bool:
        return item in [each["item_id"] for each in answer.raise_for_status().json()["items"]]

    yield "event", event, f"recommend?user_id={user}&k=1", _personal
    new, cheap = {"title": {"eq": item}}, {"and": [{"title": {"eq": item}}, {"price": {"lt": 5}}]}
    yield "new item", put({"title": item, "attributes": {"price": 9}}), shelf(new), listed
    yield "price change", put({"title": item, "attributes": {"price": 1}}), shelf(cheap), listed
    yield "out of stock", out, shelf(new), lambda answer: not listed(answer)
    yield "delete", _delete(item), f"items/{item}", lambda answer: answer.status_code == 404


def _personal(answer: httpx.Response) -> bool:
    return [each["reason"] for each in answer.raise_for_status().json()["items"]] == ["history"]


def _delete(item: str) -> Callable[[httpx.Client], int]:
    return lambda client: int(client.delete(f"items/{item}").raise_for_status().json()["seq"])


def _fill(settings: Settings, n_items: int) -> None:
    vectors = clustered(n_items, 64, seed=0)
    with open_database(settings) as database:
        space, version = store(database, SPACE, vectors)
        publish(database, space, build_generation(database, space, version, settings.generations), settings.generations)


@contextmanager
def _serving(settings: Settings, workers: int) -> Iterator[str]:
    environment = os.environ | {"NEARFIELD_HOME": str(settings.home)}
    command = [sys.executable, "-m", "api.cli.main", "serve", "--port", "0", "--workers", str(workers)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = process.stderr.readline()
    root = next(word for word in line.replace(",", " ").split() if word.startswith("http"))
    threading.Thread(target=lambda: [None for _ in process.stderr or ()], daemon=True).start()
    try:
        for _ in range(600):
            with suppress(httpx.TransportError):
                if httpx.get(f"{root}/readyz", timeout=5).status_code == 200:
                    break
            time.sleep(0.1)
        yield f"{root}/v1/{SPACE}/"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _load(url: str, n_clients: int, n_items: int) -> Iterator[None]:
    """Run clients that ask for recommendations in a loop."""
    stop = threading.Event()

    def ask(number: int) -> None:
        with httpx.Client(base_url=url, timeout=30) as client:
            for at in itertools.count(number):
                if stop.is_set():
                    return
                client.get("recommend", params={"item_ids": f"item-{(97 * at) % n_items:07d}", "k": 10})
                time.sleep(0.005)

    threads = [threading.Thread(target=ask, args=[number]) for number in range(n_clients)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--load", type=int, default=4, help="clients that ask for recommendations during the measurement"
    )
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
