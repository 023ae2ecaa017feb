"""Random writes, reads, reindexes and a killed worker against two workers: every answer agrees with a plain dict.

Every read names the `seq` of the last write, so the dict is exact. A failure shows the seed and the steps before it.
NEARFIELD_TEST_SEED=5 runs another order of steps.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.server import START_S
from engine.embedders.registry import make
from engine.settings import Settings
from engine.store import spaces
from engine.store.database.connections import Database, open_database
from indexing.building.reindex import reindex
from tests.api.faults.test_durability import free_port, start, workers

SIDES = ("odd", "even")
FIRST = [f"{side}-{n:02}" for side in SIDES for n in range(20)]
USERS = [f"{side}-user-{n}" for side in SIDES for n in range(15)]
SEED = int(os.environ.get("NEARFIELD_TEST_SEED", "4"))
STEPS, STEPS_AT_LEAST, SECONDS = 600, 150, 12.0
KILL_AT, REINDEX_EVERY = 60, 50
PROBE = [0.5, -0.25, 0.125, 1.0, 0.3, -0.7, 0.2, 0.9]


@dataclass
class Thing:
    categories: list[str]
    price: int
    available: bool = True
    writes: int = 0  # a score is constant until the next write

    @property
    def fields(self) -> dict[str, Any]:
        return {"title": None, "categories": self.categories, "price": self.price}


@dataclass
class Filter:
    """A filter as sent in a request, and the same filter as a function over items."""

    sent: dict[str, Any] | None
    below: int | None = None
    side: str | None = None

    def passes(self, thing: Thing) -> bool:
        return (self.below is None or thing.price < self.below) and (self.side is None or self.side in thing.categories)


@dataclass
class Truth:
    """The expected state of the shop, in plain dicts."""

    things: dict[str, Thing] = field(default_factory=dict)
    seen: dict[str, set[str]] = field(default_factory=dict)
    learnt: set[str] = field(default_factory=lambda: set(FIRST))  # never deleted, so every generation has their vectors
    seq: int = 0

    def eligible(self, asked: Filter, out: set[str]) -> set[str]:
        return {id_ for id_, thing in self.things.items() if thing.available and asked.passes(thing) and id_ not in out}


class Driver:
    def __init__(self, url: str, seed: int):
        self.random, self.truth, self.told = random.Random(seed), Truth(), deque[str](maxlen=12)
        self.scores: dict[tuple[str, str, str, int], float] = {}
        self.generations: set[str] = set()
        self.n_short = self.n_full = self.n_compared = 0
        # a new connection for each request, to reach both workers
        limits = httpx.Limits(max_keepalive_connections=0)
        self.client = httpx.Client(base_url=url, timeout=30, limits=limits)

    def call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        self.told.append(f"{method} {path} {options}")
        answer = self.client.request(method, path, **options)
        assert answer.status_code == 200, (answer.status_code, answer.text, *self.told)
        body: dict[str, Any] = answer.json()
        self.truth.seq = max(self.truth.seq, body.get("seq", 0))
        return body

    def fill(self) -> None:
        for id_ in FIRST:
            self._write(id_, Thing([id_[:-3]], int(id_[-2:])))
        for at, user in enumerate(USERS):
            for step in range(8):
                self._event(user, f"{user.split('-')[0]}-{(at * 3 + step * 7) % 20:02}")

    def write(self) -> None:
        ids = [*self.truth.things, *FIRST, f"new-{self.random.randrange(40)}"]
        id_ = self.random.choice([ids[-1], self.random.choice(ids)])
        self._write(id_, Thing([self.random.choice(SIDES)], self.random.randrange(20), self.random.random() < 0.8))

    def delete(self) -> None:
        id_ = self.random.choice(list(self.truth.things))
        if len(self.truth.things) > 15 and (id_ not in self.truth.learnt or len(self.truth.learnt) > 8):
            self.call("DELETE", f"/items/{id_}")
            del self.truth.things[id_]
            self.truth.learnt.discard(id_)

    def flip(self) -> None:
        ids = self.random.sample(list(self.truth.things), 3)
        rows = [{"item_id": id_, "available": self.random.random() < 0.6} for id_ in ids]
        self.call("POST", "/items/availability", json={"items": rows})
        for row in rows:
            self.truth.things[row["item_id"]].available = row["available"]

    def event(self) -> None:
        self._event(self.random.choice(USERS), self.random.choice([*self.truth.things, *FIRST]))  # or a deleted item

    def recommend(self) -> None:
        user, k, asked, out = self.random.choice(USERS), self.random.choice([1, 5, 20, 60]), self._filter(), self._out()
        exclude = self.random.choice(["seen", "none"])
        way = self.random.choice(["popular", "new"])
        asking = {"user_id": user, "k": k, "exclude": exclude, "exclude_items": sorted(out), "fill": way}
        body = self._post("/recommend", asking, asked)
        self._shelf(body, k, self.truth.eligible(asked, out | (self.truth.seen[user] if exclude == "seen" else set())))

    def batch(self) -> None:
        asks = [(self._filter(), self._out(), self.random.choice([3, 30])) for _ in range(3)]
        shelves = [
            {"vector": PROBE, "k": k, "exclude_items": sorted(out)} | ({"filter": asked.sent} if asked.sent else {})
            for asked, out, k in asks
        ]
        body = self._post("/recommend/batch", {"shelves": shelves}, Filter(None))
        for shelf, (asked, out, k) in zip(body["shelves"], asks, strict=True):
            self._shelf(shelf, k, self.truth.eligible(asked, out))
            self._one_generation("batch", body["generation"], shelf["items"])

    def search(self) -> None:
        k, asked, out = self.random.choice([1, 5, 30]), self._filter(), self._out()
        body = self._post("/search", {"vector": PROBE, "k": k, "exclude_items": sorted(out)}, asked)
        self._found(body, k, self.truth.eligible(asked, out))
        self._one_generation("search", body["generation"], body["items"])

    def similar(self) -> None:
        k, asked, like = self.random.choice([1, 5, 30]), self._filter(), self.random.choice(sorted(self.truth.learnt))
        self._found(self._post("/search", {"item_id": like, "k": k}, asked), k, self.truth.eligible(asked, {like}))
        path = f"/items/{like}/similar"
        body = self.call("GET", path, params={"k": k, "min_seq": self.truth.seq, "deadline_ms": 10_000})
        self._found(body, k, self.truth.eligible(Filter(None), {like}))

    def rank(self) -> None:
        ids, asked = self.random.sample(list(self.truth.things), 8), self._filter()
        body = self._post("/rank", {"user_id": self.random.choice(USERS), "item_ids": ids}, asked)
        self._shelf(body, 8, self.truth.eligible(asked, set()) & set(ids))

    def _write(self, id_: str, thing: Thing) -> None:
        before = self.truth.things.get(id_)
        thing.writes = 1 + (before.writes if before else self.truth.seq)
        body = {"categories": thing.categories, "attributes": {"price": thing.price}, "available": thing.available}
        self.call("PUT", f"/items/{id_}", json=body)
        self.truth.things[id_] = thing

    def _event(self, user: str, id_: str) -> None:
        self.call("POST", "/events", json=[{"user_id": user, "item_id": id_}])
        self.truth.seen.setdefault(user, set()).add(id_)

    def _filter(self) -> Filter:
        below, side = self.random.choice([1, 5, 15]), self.random.choice(SIDES)
        price, category = {"price": {"lt": below}}, {"categories": {"contains": side}}
        choices = [Filter(None), Filter(price, below), Filter(category, None, side)]
        return self.random.choice([*choices, Filter({"and": [price, category]}, below, side)])

    def _out(self) -> set[str]:
        return set(self.random.sample(list(self.truth.things), self.random.choice([0, 3])))

    def _post(self, path: str, body: dict[str, Any], asked: Filter) -> dict[str, Any]:
        body = (
            body | {"min_seq": self.truth.seq, "deadline_ms": 10_000} | ({"filter": asked.sent} if asked.sent else {})
        )
        return self.call("POST", path, json=body)

    def _shown(self, body: dict[str, Any], k: int, eligible: set[str]) -> list[str]:
        """Check that an answer has only eligible items, as last written, none twice, and names a shortfall."""
        ids = [item["item_id"] for item in body["items"]]
        assert set(ids) <= eligible, (set(ids) - eligible, *self.told)
        assert len(set(ids)) == len(ids), (ids, *self.told)
        for item in body["items"]:
            assert item["fields"] == self.truth.things[item["item_id"]].fields, (item, *self.told)
        short = body["shortfall"]
        told = None if short is None else (short["requested"], short["returned"])
        assert told == (None if len(ids) == k else (k, len(ids))), (told, len(ids), k, *self.told)
        self.n_full, self.n_short = self.n_full + (short is None), self.n_short + (short is not None)
        return ids

    def _shelf(self, body: dict[str, Any], k: int, eligible: set[str]) -> None:
        ids = self._shown(body, k, eligible)
        assert len(ids) == min(k, len(eligible)), (eligible - set(ids), *self.told)

    def _found(self, body: dict[str, Any], k: int, eligible: set[str]) -> None:
        """The items that a search can find: all learnt items, and new items with a vector."""
        ids = self._shown(body, k, eligible)
        assert len(ids) >= min(k, len(eligible & self.truth.learnt)), (eligible - set(ids), *self.told)

    def _one_generation(self, route: str, generation: str, items: list[dict[str, Any]]) -> None:
        """Check that all scores come from one generation: a vector and an item have one score in it."""
        self.generations.add(generation)
        for item in items:
            if item["reason"] == "vector":
                key = (route, generation, item["item_id"], self.truth.things[item["item_id"]].writes)
                self.n_compared += key in self.scores
                known = self.scores.setdefault(key, item["score"])
                assert item["score"] == pytest.approx(known, abs=1e-3), (key, *self.told)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[int, str, Settings]]:
    port = free_port()
    with (tmp_path / "log").open("w") as log:  # a file: a full pipe would block the server
        process = start(tmp_path, port, "--workers", "2", log=log)
    try:
        yield process.pid, f"http://127.0.0.1:{port}/v1/default", Settings(home=tmp_path)
    finally:
        process.terminate()
        process.wait(timeout=30)


def again(database: Database, settings: Settings, seed: int) -> None:
    with database.begin() as conn:
        space = spaces.get(conn, "default")
    reindex(database, space, make("spectral", {"dim": 8}), settings.generations, seed=seed, force=True)


def test_every_response_agrees_with_a_plain_dict(served: tuple[int, str, Settings]) -> None:
    pid, url, settings = served
    driver, seed = Driver(url, SEED), 0
    reads = [driver.recommend, driver.batch, driver.search, driver.similar, driver.rank]
    steps = [driver.write, driver.write, driver.delete, driver.flip, driver.event, *reads]
    building: Future[None] | None = None
    with open_database(settings) as database, ThreadPoolExecutor(1) as beside, driver.client:
        driver.fill()
        again(database, settings, seed)
        until = time.monotonic() + 30
        while not all(driver.client.get("/status").json()["generation"] for _ in range(20)):  # of both workers
            assert time.monotonic() < until, "a worker does not serve the first generation"
            time.sleep(0.05)
        until = time.monotonic() + SECONDS
        for step in range(STEPS):
            if time.monotonic() > until and step >= STEPS_AT_LEAST:
                break
            if step == KILL_AT:
                first = workers(pid)
                assert len(first) == 2
                os.kill(first[0], signal.SIGKILL)
            if step % REINDEX_EVERY == REINDEX_EVERY // 2 and (building is None or building.done()):
                if building is not None:
                    building.result()
                seed += 1
                building = beside.submit(again, database, settings, seed)
            driver.random.choice(steps)()
        assert building is not None
        building.result()
        until = time.monotonic() + START_S
        while len(replaced := workers(pid)) < 2:
            assert time.monotonic() < until, "the killed worker was not replaced"
            time.sleep(0.1)
        assert len(replaced) == 2
        assert first[0] not in replaced
    assert len(driver.generations) >= 2
    assert min(driver.n_full, driver.n_short, driver.n_compared) > 20
