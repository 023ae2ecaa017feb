"""Sampler: the recall of live traffic. A few searches a second are done again exactly, off the request path."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import structlog

from engine.latent_space.space import Metric
from engine.recommending.values.searcher import Found, Mask
from engine.values.vectors import Matrix
from indexing.searchers import search_strategy
from indexing.searchers.metric import MeasurableScorer, MeasurableSearcher

log = structlog.get_logger()
RATE_PER_S = 2.0
KEPT = 500  # samples of a space that its recall is the mean of
WAITING = 4  # searches that wait to be done again; more are passed over
Observe = Callable[[str, str, float], None]  # space, which way it went, seconds
ROUNDING = 1e-5  # of the best score: two ways to add up a product differ by so much


@dataclass(frozen=True, eq=False)
class Sample:
    space: str
    searcher: MeasurableSearcher
    query: Matrix  # (1, dim)
    k: int
    allowed: Mask | None
    scores: Matrix  # (k,) of what was answered


class RecallSampler:
    """One for a process; `offer` costs a request a look at the clock. Exact answers come from a thread of its own."""

    def __init__(self, rate_per_s: float = RATE_PER_S, observe: Observe = lambda space, way, seconds: None):
        self.observe = observe  # told of every search
        self._every_s, self._next = 1 / rate_per_s, 0.0
        self._waiting: deque[Sample] = deque(maxlen=WAITING)
        self._found: dict[str, deque[float]] = {}
        self._told, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="nearfield-sampler", daemon=True)
        self._thread.start()

    @property
    def recall(self) -> Mapping[str, float]:
        """By space: the share of the true top k that the newest sampled searches found; no entry before the first."""
        return {space: sum(found) / len(found) for space, found in list(self._found.items())}

    def recall_in(self, space: str) -> float | None:
        found = self._found.get(space)
        return sum(found) / len(found) if found else None

    def watched(self, space: str, searcher: MeasurableScorer) -> Watched:
        """The searcher, some of whose searches are sampled."""
        return Watched(searcher, self, space)

    def offer(
        self, space: str, searcher: MeasurableSearcher, queries: Matrix, k: int, allowed: Mask | None, found: Found
    ) -> None:
        now = time.monotonic()
        if now < self._next or len(queries) == 0:
            return
        self._next = now + self._every_s
        self._waiting.append(Sample(space, searcher, queries[:1].copy(), k, allowed, found[0][0].copy()))
        self._told.set()

    def close(self) -> None:
        self._stop.set()
        self._told.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._told.wait()
            self._told.clear()
            while self._waiting and not self._stop.is_set():
                sample = self._waiting.popleft()
                try:
                    found = recall_of(sample)  # first: who looks meanwhile finds no space without a sample
                    self._found.setdefault(sample.space, deque(maxlen=KEPT)).append(found)
                except Exception as error:  # a sample is no reason to end
                    log.warning("a search could not be sampled", space=sample.space, error=str(error))


@dataclass(frozen=True, eq=False)
class Watched:
    """A searcher that offers its searches to a sampler."""

    inner: MeasurableScorer
    sampler: RecallSampler
    space: str

    @property
    def exact_reference(self) -> MeasurableSearcher:
        return self.inner.exact_reference

    @property
    def metric(self) -> Metric:
        return self.inner.metric

    def search(self, queries: Matrix, k: int, allowed: Mask | None = None) -> Found:
        started = time.perf_counter()
        search_strategy.record_strategy("exact")
        found = self.inner.search(queries, k, allowed)
        self.sampler.observe(self.space, search_strategy.last_strategy(), time.perf_counter() - started)
        self.sampler.offer(self.space, self.inner, queries, k, allowed, found)
        return found


def recall_of(sample: Sample) -> float:
    """The share of what there was to find; a row that ties with the last true one counts as found."""
    scores, rows = sample.searcher.exact_reference.search(sample.query, sample.k, sample.allowed)
    wanted = int((rows[0] >= 0).sum())
    if wanted == 0:
        return 1.0
    least = scores[0, wanted - 1] - ROUNDING * np.abs(scores[0, :wanted]).max()
    return min(int((sample.scores >= least).sum()), wanted) / wanted
