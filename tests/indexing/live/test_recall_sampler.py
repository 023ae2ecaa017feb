"""The sampled recall of live traffic agrees with exact search, at a bounded rate."""

import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest

from indexing.live.recall_sampler import RecallSampler, Sample, sample_recall
from indexing.searchers.exact import ExactSearcher
from indexing.searchers.metric import normalise_rows

VECTORS = normalise_rows(np.random.default_rng(0).standard_normal((400, 8)).astype(np.float32))


@dataclass(frozen=True)
class Half:
    """Finds every second row only."""

    exact_reference: ExactSearcher

    def search(self, queries, k, allowed=None):
        mask = np.arange(400) % 2 == 0
        return self.exact_reference.search(queries, k, mask if allowed is None else mask & allowed)


@pytest.fixture
def sampler():
    made = RecallSampler(rate_per_s=1000)
    yield made
    made.close()


def wait_for(sampler, space):
    until = time.monotonic() + 30
    while space not in sampler.recall and time.monotonic() < until:
        time.sleep(0.005)
    return sampler.recall[space]


def test_a_search_that_found_all_has_recall_one_and_one_that_found_half_a_half(sampler):
    exact = ExactSearcher(VECTORS)
    assert sampler.recall == {}
    sampler.sampled("whole", exact).search(VECTORS[:1], 20)
    assert wait_for(sampler, "whole") == 1.0
    time.sleep(0.01)
    _, rows = sampler.sampled("half", Half(exact)).search(VECTORS[:1], 400)
    assert (rows >= 0).sum() == 200
    assert wait_for(sampler, "half") == 0.5


def test_a_space_has_no_recall_while_its_first_sample_is_worked_on(sampler):
    begun, looked = threading.Event(), threading.Event()

    class Slow(ExactSearcher):
        @property
        def exact_reference(self):
            begun.set()
            looked.wait(30)
            return super().exact_reference

    sampler.sampled("slow", Slow(VECTORS)).search(VECTORS[:1], 5)
    assert begun.wait(30)
    assert sampler.recall == {}
    looked.set()
    assert wait_for(sampler, "slow") == 1.0


def test_a_filter_counts_in_what_there_was_to_find():
    exact = ExactSearcher(VECTORS)
    allowed = np.arange(400) < 10
    scores, _ = exact.search(VECTORS[:1], 20, allowed)
    assert sample_recall(Sample("s", exact, VECTORS[:1], 20, allowed, scores[0])) == 1.0
    nothing = np.zeros(400, dtype=bool)
    assert sample_recall(Sample("s", exact, VECTORS[:1], 20, nothing, scores[0])) == 1.0
    assert sample_recall(Sample("s", exact, VECTORS[:1], 20, allowed, np.full(20, -np.inf, np.float32))) == 0.0


def test_no_more_than_the_rate_is_sampled():
    sampler = RecallSampler(rate_per_s=0.001)
    try:
        sampled = sampler.sampled("s", ExactSearcher(VECTORS))
        for _ in range(50):
            sampled.search(VECTORS[:1], 5)
        wait_for(sampler, "s")
        assert len(sampler._found["s"]) == 1
    finally:
        sampler.close()


def test_searches_of_a_live_view_and_its_delta_are_sampled(shop, sampler):
    from engine.store import items
    from engine.values.items import Item, ItemVector
    from indexing.refresh.live_space import LiveSpace

    shop.publish()
    live = LiveSpace(shop.database, shop.folder, shop.space.name, sampler)
    shop.shown(live.current(), k=5)
    assert wait_for(sampler, shop.space.name) == 1.0
    shop.change(items.upsert, [Item("new", vector=ItemVector(1, (1.0, 2.0)))])
    view = live.refresh()
    assert view.delta is not None
    shop.shown(view, k=5)
    assert sampler.recall[shop.space.name] == 1.0
