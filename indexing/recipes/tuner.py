"""Tuner: finds the cheapest recipe for these vectors by measuring candidates on a sample of them.

Latencies of the sample are projected to all rows: the latency of an IVF index grows with the square root of the number
of rows (as the number and the length of its lists do), that of HNSW with the logarithm, and that of exact search
linearly.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import faiss
import numpy as np

from engine.recommending.values.searcher import Searcher
from engine.values.vectors import Matrix
from indexing.recipes.recipe import EXACT_ROWS, Index, Recipe, build_index, centroids_of, meets_target, tune_effort
from indexing.searchers.exact import ExactSearcher
from indexing.searchers.int8_searcher import compile_loops
from indexing.searchers.metric import scale
from indexing.searchers.recall import GroundTruth, Recall

SAMPLE_ROWS = 65_536
N_QUERIES = 300
BUDGET_S = 8.0  # no candidate starts after it
FINALISTS, ROUNDS = 3, 7  # the cheapest candidates are timed again in turns: a shared machine can be slow for seconds
OVERHEAD_US = 8.0  # of a call, independent of size
LISTS = (1.0, 2.0, 4.0)  # number of lists / square root of the number of rows
# PQ is left out: with 10 x k rows refined, its recall is 64% on synthetic vectors and 74% on Gowalla
CODES = ("int8", "SQfp16")
GPU_CODES = ("Flat", "SQfp16", "SQ8")
GRAPH = "HNSW32,Flat"
GRAPH_TRIAL = 4_000  # rows of a trial graph; its build time gives a low estimate of the time for all rows
GRAPH_BUILD_S = 60.0  # a graph that takes longer to build is not worth its lower latency


@dataclass(frozen=True)
class Point:
    """One candidate at the least effort that meets the target on the sample, or at its largest effort."""

    factory: str  # for all rows
    effort: int
    recall: float
    surely: float  # recall minus its standard error; the name is a JSON field of manifests
    latency_us: float  # on the sample
    projected_us: float  # for all rows
    build_s: float


@dataclass(frozen=True, eq=False)
class Candidate:
    point: Point
    searcher: Searcher
    project: Callable[[float], float]  # microseconds on the sample -> for all rows

    def timed(self, us: float) -> Point:
        """The point with the shorter of its own latency and this one."""
        us = min(us, self.point.latency_us)
        return replace(self.point, latency_us=us, projected_us=self.project(us))


def tune(
    vectors: Matrix, queries: Matrix, factors: Matrix | None = None, *, device: str = "cpu"
) -> tuple[Recipe, Sequence[dict[str, Any]]]:
    """The recipe with the least projected latency whose recall meets the target, and the measured points.

    `vectors` are raw, `queries` are scaled. Below EXACT_ROWS nothing is measured: exact search is fast enough. All
    measurements run on the CPU; for another `device`, only indexes that a GPU can search are candidates.
    """
    if len(vectors) < EXACT_ROWS:
        return Recipe("Flat"), ()
    threads, queries = faiss.omp_get_max_threads(), queries[:N_QUERIES]
    if device == "cpu":
        compile_loops()  # may take seconds; must not count as search time
    started, points = time.perf_counter(), list[Point]()
    finalists: list[Candidate] = []
    try:
        for candidate in _candidates(vectors, queries, factors, on_gpu=device != "cpu"):
            points.append(candidate.point)
            if meets_target(candidate.point.recall, candidate.point.surely):
                finalists = sorted([*finalists, candidate], key=lambda each: each.point.projected_us)[:FINALISTS]
            if time.perf_counter() - started > BUDGET_S:
                break
        timed = {
            each.point: each.timed(us) for each, us in zip(finalists, _time_in_turns(finalists, queries), strict=True)
        }
    finally:
        faiss.omp_set_num_threads(threads)
    best = min(timed.values(), key=lambda point: point.projected_us)
    return Recipe(best.factory), [_rounded(timed.get(point, point)) for point in points]


def _time_in_turns(finalists: Sequence[Candidate], queries: Matrix) -> list[float]:
    """The latency of each finalist in its best round; each round times all finalists."""
    parts = np.array_split(queries, ROUNDS)
    rounds = [[_latency_us(each.searcher, part, 1) for each in finalists] for part in parts if len(part)]
    return [min(each) for each in zip(*rounds, strict=True)]


def _candidates(vectors: Matrix, queries: Matrix, factors: Matrix | None, *, on_gpu: bool) -> Iterator[Candidate]:
    """Exact search first, which always meets the target; then IVF indexes; a graph last, if it can be cheaper."""
    rows = np.sort(np.random.default_rng(4).permutation(len(vectors))[:SAMPLE_ROWS])
    sample = scale(vectors[rows], None if factors is None else factors[rows])
    growth, threads = len(vectors) / len(sample), faiss.omp_get_max_threads()
    truth = GroundTruth(ExactSearcher(sample), queries)

    def candidate(
        factory: str, searcher: Any, found: Recall, build_s: float, project: Callable[[float], float]
    ) -> Candidate:
        us, effort = _latency_us(searcher, queries, threads), getattr(searcher, "effort", 0)
        point = Point(factory, effort, found.mean, found.lower_bound, us, project(us), build_s * growth)
        return Candidate(point, searcher, project)

    def by_root(us: float) -> float:
        return OVERHEAD_US + max(us - OVERHEAD_US, 0) * math.sqrt(growth)

    yield candidate("Flat", truth.exact, Recall(1.0, 0.0), 0.0, lambda us: us * growth)
    codes: tuple[str, ...] = GPU_CODES if on_gpu else CODES
    least = math.inf
    for lists in LISTS:
        nlist = int(lists * math.sqrt(len(sample)))
        name = f"IVF{max(1, min(int(lists * math.sqrt(len(vectors))), len(vectors) // 39))}"
        centroids, tried = None, dict[str, float]()
        for code in codes:
            index, searcher, found, build_s = _built(f"IVF{nlist},{code}", truth, centroids)
            centroids = centroids_of(index, sample.shape[1])
            made = candidate(f"{name},{code}", searcher, found, build_s, by_root)
            tried[code] = made.point.projected_us
            yield made
        best = min(tried, key=tried.__getitem__)
        if tried[best] >= least:
            break  # more lists are not better; still more would not be either
        codes, least = (best,), tried[best]
    if on_gpu:
        return
    small = GroundTruth(ExactSearcher(sample[:GRAPH_TRIAL]), queries)
    _, searcher, _, trial_s = _built(GRAPH, small, None)
    if trial_s * growth * len(sample) / len(small.exact.vectors) > GRAPH_BUILD_S:
        return
    if _latency_us(searcher, queries, threads) * math.log(len(vectors)) / math.log(len(small.exact.vectors)) > least:
        return  # a small graph needs less effort, so the real one would be slower still
    _, searcher, found, build_s = _built(GRAPH, truth, None)
    yield candidate(GRAPH, searcher, found, build_s, lambda us: us * math.log(len(vectors)) / math.log(len(sample)))


def _built(factory: str, truth: GroundTruth, centroids: Matrix | None) -> tuple[Index, Any, Recall, float]:
    started = time.perf_counter()
    index = build_index(factory, truth.exact.vectors, centroids=centroids)
    build_s = time.perf_counter() - started
    return index, *tune_effort(index, Recipe(factory), truth), build_s


def _latency_us(searcher: Searcher, queries: Matrix, threads: int) -> float:
    """The median latency of single queries on one thread, as in a server."""
    faiss.omp_set_num_threads(1)
    seconds = []
    for query in queries:
        started = time.perf_counter()
        searcher.search(query[None], 20)
        seconds.append(time.perf_counter() - started)
    faiss.omp_set_num_threads(threads)
    return float(np.median(seconds)) * 1e6


def _rounded(point: Point) -> dict[str, Any]:
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(point).items()}
