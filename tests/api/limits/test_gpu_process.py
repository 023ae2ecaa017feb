"""A server whose searches run in the GPU process does not block on it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.limits.work_limit import is_quick
from api.server import bound, running
from engine.catalogue import predicate
from engine.recommending.values.request import Request
from engine.recommending.values.searcher import Found, Mask, Searcher
from engine.store.database.connections import Database
from engine.values.vectors import Matrix
from indexing.gpu import gpu_client, resident_generations
from indexing.gpu.batching import Batcher
from indexing.gpu.gpu_process import searchers
from indexing.gpu.gpu_server import GpuServer, address
from indexing.refresh.live_space import LiveSpace
from tests.api.conftest import ITEMS, Shop
from tests.api.test_operations import eventually


class Gated:
    """A searcher that waits at a gate and counts the queries of each search."""

    def __init__(self, inner: Searcher):
        self.inner, self.gate, self.sizes = inner, threading.Event(), list[int]()
        self.gate.set()

    def search(self, queries: Matrix, k: int, allowed: Mask | None = None) -> Found:
        self.sizes.append(len(queries))
        self.gate.wait(30)
        return self.inner.search(queries, k, allowed)


@pytest.fixture
def gated(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Gated]]:
    """The searchers of an owner at the address of a GPU of the shop, by label; empty until they are loaded."""
    made: dict[str, Gated] = {}
    monkeypatch.setattr(gpu_client, "ANSWER_S", 60.0)

    def load(folder: Path) -> dict[str, Searcher]:
        made.update({label: Gated(each) for label, each in searchers(folder, "cpu").items()})
        return dict(made)

    context = GpuServer(address(shop.settings.home, "cuda"), load)
    threading.Thread(target=context.run, daemon=True).start()
    yield made
    for each in made.values():
        each.gate.set()
    context.close()


def test_only_searches_of_this_process_are_answered_on_the_event_loop(shop: Shop, database: Database) -> None:
    cheap = predicate.parse({"price": {"lt": 3}})
    for source in ("similar", "for_you"):
        for where, expected in (("", True), (address(shop.settings.home, "cuda"), False)):
            view = LiveSpace(database, shop.settings.generations, shop.space.name, gpu_address=where).current()
            view.where(cheap)  # so that it is known how many items pass
            assert is_quick(view, Request(source=source, k=5)) is expected
            assert is_quick(view, Request(source=source, k=5, predicate=cheap)) is expected


def test_while_the_gpu_process_hangs_a_worker_answers_other_requests_and_batches_searches(
    shop: Shop, database: Database, gated: dict[str, Gated], monkeypatch: pytest.MonkeyPatch
) -> None:
    batchers = list[Batcher]()

    def batching(*args: Any) -> Batcher:
        batchers.append(Batcher(*args))
        return batchers[-1]

    monkeypatch.setattr(resident_generations, "Batcher", batching)
    settings = shop.settings.model_copy(update={"device": "cuda"})
    with bound("127.0.0.1", 0) as listener, running(settings, database, listener), ThreadPoolExecutor(16) as pool:
        root = f"http://127.0.0.1:{listener.getsockname()[1]}"
        items = [item.item_id for item in ITEMS[:8]]  # two items are as like as each other to the ninth

        def similar(item_id: str) -> list[str]:
            answer = httpx.get(f"{root}/v1/{shop.space.name}/items/{item_id}/similar", params={"k": 3}, timeout=60)
            return [hit["item_id"] for hit in answer.raise_for_status().json()["items"]]

        expected = [similar(item_id) for item_id in items]
        end = time.monotonic() + 30
        while not ("cosine" in gated and gated["cosine"].sizes) and time.monotonic() < end:
            assert similar(items[0]) == expected[0]  # of the CPU until the owner has loaded
        gated["cosine"].gate.clear()
        gated["cosine"].sizes.clear()
        first = pool.submit(similar, items[0])
        while not gated["cosine"].sizes and time.monotonic() < end:
            time.sleep(0.01)
        rest = [pool.submit(similar, item_id) for item_id in items[1:]]
        try:
            eventually(lambda: sum(batcher._queue.qsize() for batcher in batchers) > 1)
            assert httpx.get(f"{root}/healthz", timeout=20).status_code == 200
            assert not first.done()
        finally:
            gated["cosine"].gate.set()
        assert [each.result(60) for each in (first, *rest)] == expected
        assert max(gated["cosine"].sizes) > 1
