"""RecallSampler: measures the recall of live traffic. It repeats a few searches a second exactly, off the request
path."""

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
MAX_SAMPLES = 500  # per space; recall is their mean
MAX_WAITING = 4  # queued searches; older ones are dropped
Observe = Callable[[str, str, float], None]  # space, search strategy, seconds
ROUNDING = 1e-5  # of the best score: two orders of summation differ by so much


@dataclass(frozen=True, eq=False)
class Sample:
    space: str
    searcher: MeasurableSearcher
    query: Matrix  # (1, dim)
    k: int
    allowed: Mask | None
    scores: Matrix  # (k,) of the answer


class RecallSampler:
    """One per process. `offer` costs a request one reading of the clock; exact searches run in a separate thread."""

    def __init__(self, rate_per_s: float = RATE_PER_S, observe: Observe = lambda space, way, seconds: None):
        self.observe = observe  # called for every search
        self._every_s, self._next = 1 / rate_per_s, 0.0
        self._waiting: deque[Sample] = deque(maxlen=MAX_WAITING)
        self._found: dict[str, deque[float]] = {}
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="nearfield-sampler", daemon=True)
        self._thread.start()

    @property
    def recall(self) -> Mapping[str, float]:
        """Space -> mean recall of its newest samples; no entry before the first sample."""
        return {space: sum(found) / len(found) for space, found in list(self._found.items())}

    def recall_in(self, space: str) -> float | None:
        found = self._found.get(space)
        return sum(found) / len(found) if found else None

    def sampled(self, space: str, searcher: MeasurableScorer) -> SampledSearcher:
        """A searcher that offers its searches to this sampler."""
        return SampledSearcher(searcher, self, space)

    def offer(
        self, space: str, searcher: MeasurableSearcher, queries: Matrix, k: int, allowed: Mask | None, found: Found
    ) -> None:
        now = time.monotonic()
        if now < self._next or len(queries) == 0:
            return
        self._next = now + self._every_s
        self._waiting.append(Sample(space, searcher, queries[:1].copy(), k, allowed, found[0][0].copy()))
        self._wake.set()

    def close(self) -> None:
        self._stop.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait()
            self._wake.clear()
            while self._waiting and not self._stop.is_set():
                sample = self._waiting.popleft()
                try:
                    found = sample_recall(sample)  # before setdefault, so that no space has an empty list
                    self._found.setdefault(sample.space, deque(maxlen=MAX_SAMPLES)).append(found)
                except Exception as error:  # the thread must survive
                    log.warning("a search could not be sampled", space=sample.space, error=str(error))


@dataclass(frozen=True, eq=False)
class SampledSearcher:
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


def sample_recall(sample: Sample) -> float:
    """The share of the true best rows that was found; a row whose score ties with the last true one counts as found."""
    scores, rows = sample.searcher.exact_reference.search(sample.query, sample.k, sample.allowed)
    wanted = int((rows[0] >= 0).sum())
    if wanted == 0:
        return 1.0
    least = scores[0, wanted - 1] - ROUNDING * np.abs(scores[0, :wanted]).max()
    return min(int((sample.scores >= least).sum()), wanted) / wanted
