"""Concurrent searches are combined into one, and each gets its own answer."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from indexing.gpu.batching import Batcher
from indexing.searchers.exact import ExactSearcher
from indexing.searchers.metric import normalise_rows

VECTORS = normalise_rows(np.random.default_rng(0).standard_normal((3000, 16)).astype(np.float32))


class Counted:
    """An exact searcher that records the number of queries of each search."""

    def __init__(self):
        self.exact, self.sizes = ExactSearcher(VECTORS), []
        self.gate, self.entered = threading.Event(), threading.Event()
        self.gate.set()

    def search(self, queries, k, allowed=None):
        self.entered.set()
        self.gate.wait()
        self.sizes.append(len(queries))
        if k == 13:
            raise RuntimeError("the GPU fell off the bus")
        return self.exact.search(queries, k, allowed)


@pytest.fixture
def counted():
    return Counted()


@pytest.fixture
def batcher(counted):
    made = Batcher(counted, wait_s=0.002)
    yield made
    counted.gate.set()
    made.close()


def test_concurrent_searches_of_any_k_and_mask_are_answered_as_alone(batcher, counted):
    masks = [None, np.arange(3000) % 2 == 0, np.arange(3000) < 40]
    asked = [(VECTORS[n : n + 1 + n % 3], 1 + n % 30, masks[n % 3]) for n in range(200) if 1 + n % 30 != 13]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda each: batcher.search(*each), asked))
    for (queries, k, allowed), (scores, rows) in zip(asked, answers, strict=True):
        expected_scores, expected_rows = counted.exact.search(queries, k, allowed)
        assert rows.shape == expected_rows.shape
        found = np.isfinite(expected_scores)
        assert scores[found] == pytest.approx(expected_scores[found], abs=1e-5)
        assert ((rows >= 0) == (expected_rows >= 0)).all()
    assert sum(counted.sizes) == sum(len(queries) for queries, _, _ in asked)


def test_searches_that_arrive_during_a_batch_form_the_next_batch(batcher, counted):
    counted.gate.clear()
    with ThreadPoolExecutor(20) as pool:
        try:
            futures = [pool.submit(batcher.search, VECTORS[:1], 5)]
            assert counted.entered.wait(30)
            futures += [pool.submit(batcher.search, VECTORS[n : n + 1], 5) for n in range(1, 20)]
            until = time.monotonic() + 30
            while batcher._queue.qsize() < 19:
                assert time.monotonic() < until
                time.sleep(0.001)
        finally:
            counted.gate.set()
        rows = [future.result()[1][0, 0] for future in futures]
    assert rows == list(range(20))
    assert counted.sizes == [1, 19]


def test_a_batch_that_fails_fails_for_those_in_it_and_the_next_is_answered(batcher):
    with pytest.raises(RuntimeError, match="fell off the bus"):
        batcher.search(VECTORS[:1], 13)
    assert batcher.search(VECTORS[:1], 1)[1].tolist() == [[0]]


def test_a_single_search_waits_only_briefly(batcher, counted):
    assert batcher.search(VECTORS[7:8], 1)[1].tolist() == [[7]]
    assert counted.sizes == [1]
