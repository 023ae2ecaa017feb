"""Concurrent writers on two servers that are stopped, killed and started, while generations are swapped: a read with
the highest acknowledged `min_seq` never shows an older state of an item.

Some writes are slow, so that many commit after writes with higher numbers. Each writer has items of its own, and every
read has a start and an end: an item must have a state that its writer gave it at a moment in between.

NEARFIELD_TEST_SECONDS=600 runs longer than the suite does, and prints its counts with `pytest -s`.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from engine.embedders.registry import make
from engine.errors import Conflict
from engine.settings import Settings
from engine.store import spaces
from engine.store.database.connections import Database, open_database
from indexing.building.build import build_generation
from indexing.building.publish import publish, rollback
from indexing.building.reindex import reindex
from tests.api.faults.test_durability import free_port, start

SECONDS = float(os.environ.get("NEARFIELD_TEST_SECONDS", "12"))
SEED = int(os.environ.get("NEARFIELD_TEST_SEED", "4"))
WRITERS, OWN, READERS, MANY = 4, 60, 2, 400
RESTART_S = 25.0  # between two stops of a server; the first is sooner
Shown = bool


@dataclass
class Truth:
    """For each item, whether each write shows it; `sure` is the last acknowledged write."""

    states: dict[str, list[Shown]] = field(default_factory=dict)
    sure: dict[str, int] = field(default_factory=dict)
    seq: int = 0
    done: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begins(self, wanted: dict[str, Shown]) -> None:
        for item_id, shown in wanted.items():
            self.states[item_id].append(shown)

    def ended(self, wanted: dict[str, Shown], seq: int) -> None:
        with self.lock:
            for item_id in wanted.keys() & self.sure.keys():
                self.sure[item_id] = len(self.states[item_id]) - 1
            self.seq = max(self.seq, seq)

    def unknown(self, wanted: dict[str, Shown]) -> None:
        """Mark items whose write had no answer because a server stopped: the write may or may not be done."""
        with self.lock:
            for item_id in wanted:
                self.sure.pop(item_id, None)

    def before(self) -> tuple[int, dict[str, int]]:
        with self.lock:
            return self.seq, dict(self.sure)

    def wrong(self, shown: set[str], asked: list[str], sure: dict[str, int]) -> dict[str, list[Shown]]:
        """The requested items whose state in the answer is none that they had since the read began."""
        known = {item_id: self.states[item_id][sure[item_id] :] for item_id in asked if item_id in sure}
        known = {item_id: states for item_id, states in known.items() if item_id in self.sure}
        return {item_id: states for item_id, states in known.items() if (item_id in shown) not in states}


class Servers:
    """Two servers with one database; a call goes to one of them."""

    def __init__(self, home: Path, log: Path):
        self._home, self._log, self.client = home, log, httpx.Client(timeout=30)
        self._ports = [free_port(), free_port()]
        self._up = self._ports
        with ThreadPoolExecutor(2) as pool:
            self._processes = list(pool.map(self._begin, self._ports))

    def url(self, draw: random.Random) -> str:
        return f"http://127.0.0.1:{draw.choice(self._up)}/v1/default"

    def restart(self, which: int, number: signal.Signals) -> None:
        """Restart a server. Its open calls fail; calls during the restart go to the other server."""
        self._up = [self._ports[1 - which]]
        self._processes[which].send_signal(number)
        self._processes[which].wait(timeout=60)
        self._processes[which] = self._begin(self._ports[which])
        self._up = self._ports

    def close(self) -> None:
        self.client.close()
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(timeout=60)

    def _begin(self, port: int) -> subprocess.Popen[str]:
        with self._log.open("a") as log:
            return start(self._home, port, log=log)


@contextmanager
def going_on(*works: Callable[[], None]) -> Iterator[threading.Event]:
    """Repeat each function in a thread of its own until the block ends; an error ends all threads and is raised."""
    stop = threading.Event()

    def again(work: Callable[[], None]) -> None:
        try:
            while not stop.is_set():
                work()
        finally:
            stop.set()

    with ThreadPoolExecutor(len(works)) as pool:
        running = [pool.submit(again, work) for work in works]
        try:
            yield stop
        finally:
            stop.set()
        for each in running:
            each.result()


class Writer:
    """Reads after each write, possibly before the other server has seen it."""

    def __init__(self, servers: Servers, truth: Truth, name: str, seed: int, look: Callable[[], None]):
        self._servers, self._truth, self._random, self._look = servers, truth, random.Random(seed), look
        self._ids = [f"{name}-{n:02}" for n in range(OWN)]
        self._rest = [f"{name}-rest-{n:04}" for n in range(MANY)]
        self._deleted = set[str]()

    def fill(self) -> None:
        rows = [{"item_id": id_, "attributes": {"price": n}} for n, id_ in enumerate([*self._rest, *self._ids])]
        for id_ in self._ids:
            self._truth.states[id_], self._truth.sure[id_] = [True], 0
        self._servers.client.post(self._servers.url(self._random) + "/items", json=rows).raise_for_status()
        users = [f"user-{self._random.randrange(40)}" for _ in range(8 * OWN)]
        events = [{"user_id": user, "item_id": self._ids[n % OWN]} for n, user in enumerate(users)]
        self._servers.client.post(self._servers.url(self._random) + "/events", json=events).raise_for_status()

    def write(self) -> None:
        ids = self._random.sample(self._ids, self._random.choice([1, 1, 3]))
        there = [id_ for id_ in ids if id_ not in self._deleted]
        how = self._random.choice(["flip", "flip", "flip", "flip with many", "flip with many", "put", "delete"])
        if how == "put":
            wanted = {id_: self._random.random() < 0.6 for id_ in ids}
            rows = [{"item_id": id_, "available": shown} for id_, shown in wanted.items()]
            self._call(how, wanted, "POST", "/items", rows)
            self._deleted -= set(ids)
        elif how == "delete" and there:
            self._call(how, {there[0]: False}, "DELETE", f"/items/{there[0]}")
            self._deleted.add(there[0])
        elif there:
            wanted = {id_: self._random.random() < 0.6 for id_ in there}
            many = self._rest if how == "flip with many" else []
            rows = [{"item_id": id_, "available": shown} for id_, shown in wanted.items()]
            rows += [{"item_id": id_, "available": self._random.random() < 0.5} for id_ in many]
            self._call(how, wanted, "POST", "/items/availability", {"items": rows})
        self._look()

    def _call(self, how: str, wanted: dict[str, Shown], method: str, path: str, body: Any = None) -> None:
        self._truth.begins(wanted)
        try:
            answer = self._servers.client.request(method, self._servers.url(self._random) + path, json=body)
        except httpx.TransportError:
            self._truth.unknown(wanted)
            self._truth.done["lost"] += 1
            return
        if answer.status_code == 503:  # the server ends, or a wait was too long: the write may be done
            self._truth.unknown(wanted)
            return
        if answer.status_code == 404 and any(id_ not in self._truth.sure for id_ in wanted):
            return
        assert answer.status_code == 200, (how, answer.status_code, answer.text)
        self._truth.ended(wanted, answer.json()["seq"])
        self._truth.done[how] += 1


class Reader:
    def __init__(self, servers: Servers, truth: Truth, seed: int):
        self._servers, self._truth, self._random = servers, truth, random.Random(seed)
        self.generations = set[str]()

    def read(self) -> None:
        everything = self._random.random() < 0.5
        seq, sure = self._truth.before()
        fresh: dict[str, Any] = {"min_seq": seq, "deadline_ms": 10_000}
        url, ids = self._servers.url(self._random), self._random.sample(sorted(sure), min(100, len(sure)))
        try:
            if everything:
                answer = self._servers.client.post(url + "/rank", json={"item_ids": ids, **fresh})
            else:
                answer = self._servers.client.get(url + "/recommend", params={"fill": "new", "k": 50, **fresh})
        except httpx.TransportError:
            return
        if answer.status_code == 503:  # the server ends
            self._truth.done["refused"] += 1
            return
        assert answer.status_code == 200, answer.text
        body = answer.json()
        shown = {item["item_id"] for item in body["items"]}
        wrong = self._truth.wrong(shown, ids if everything else sorted(shown & sure.keys()), sure)
        assert not wrong, (seq, wrong, body["generation"], url)
        self.generations.add(body["generation"])
        self._truth.done["rank" if everything else "recommend"] += 1


class Swaps:
    """Alternately builds and publishes a generation, and rolls back."""

    def __init__(self, database: Database, settings: Settings, truth: Truth, seed: int):
        self._database, self._folder, self._truth = database, settings.generations, truth
        self._random = random.Random(seed)
        with database.begin() as conn:
            self._space = spaces.get(conn, "default")
        reindex(database, self._space, make("spectral", {"dim": 8}), self._folder, force=True)

    def swap(self) -> None:
        if self._random.random() < 0.3:
            try:
                rollback(self._database, self._space, self._folder)
            except Conflict:  # a server rebuilt the index in between
                return
        else:
            made = build_generation(self._database, self._space, 1, self._folder, recipe="flat")
            publish(self._database, self._space, made, self._folder)
        self._truth.done["swaps"] += 1
        time.sleep(self._random.random())


def test_no_read_shows_an_item_older_than_an_acknowledged_write(tmp_path: Path) -> None:
    truth, settings = Truth(), Settings(home=tmp_path)
    servers = Servers(tmp_path, tmp_path / "log")
    try:
        with open_database(settings) as database:
            readers = [Reader(servers, truth, SEED * 100 + n) for n in range(WRITERS + READERS)]
            writers = [
                Writer(servers, truth, f"writer-{n}", SEED * 100 + n, reader.read)
                for n, reader in zip(range(WRITERS), readers, strict=False)
            ]
            for writer in writers:
                writer.fill()
            swaps = Swaps(database, settings, truth, SEED)
            until, restart_at, n_restarts = time.monotonic() + SECONDS, time.monotonic() + SECONDS / 3, 0
            works = [*(each.write for each in writers), *(each.read for each in readers[WRITERS:]), swaps.swap]
            with going_on(*works) as stop:
                while time.monotonic() < until and not stop.wait(0.1):
                    if time.monotonic() > restart_at:
                        servers.restart(n_restarts % 2, (signal.SIGTERM, signal.SIGKILL)[n_restarts // 2 % 2])
                        n_restarts, restart_at = n_restarts + 1, time.monotonic() + RESTART_S
    finally:
        servers.close()
    generations = set().union(*(reader.generations for reader in readers))
    print(f"{n_restarts} restarts, {len(generations)} generations answered,", dict(truth.done))
    assert n_restarts >= 1
    assert len(generations) >= 2
    assert min(truth.done[what] for what in ("flip", "flip with many", "rank", "recommend")) > 10
