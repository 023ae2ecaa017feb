"""Recipe: how to index, by name or FAISS factory string, with the least effort whose measured recall is enough."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import faiss
import numpy as np

from engine.errors import DeviceUnavailable, InputError
from engine.recommending.values.searcher import Searcher
from engine.values.vectors import Matrix
from indexing.recipes.faiss_gpu import build_cagra, build_on_gpu, gpu_number
from indexing.recipes.filter_selftest import filter_works
from indexing.searchers.approximate import ApproximateSearcher, is_graph
from indexing.searchers.exact import ExactSearcher
from indexing.searchers.int8_lists import Int8Lists, build_int8_lists
from indexing.searchers.int8_searcher import Int8Searcher
from indexing.searchers.metric import BLOCK, scale
from indexing.searchers.recall import GroundTruth, Recall, check_floor, filtered_recall

EXACT_ROWS = 20_000  # below this, exact search answers within a millisecond
TARGET = 0.99  # recall@20
SAMPLE_BIAS = 0.0025  # recall of queries that are rows of the index is higher than of others, by up to .003
CAGRA = "CAGRA"  # a graph built by cuVS; the CPU searches it as HNSW
INT8_FACTORY = re.compile(r"(IVF[1-9]\d*),int8")  # `int8_lists.Int8Lists`, not a FAISS index
SAMPLE = 500
# k-means: rows per list, and rounds. FAISS's defaults of 256 and 10 take ten times as long for the same recall.
TRAIN_ROWS, TRAIN_ROUNDS = 40, 5
REFINE = {
    "Flat": 0,
    "SQfp16": 0,
    "SQ8": 5,
    CAGRA: 0,
}  # by quantisation; 10 for all others. float16 keeps 3 digits


Index: TypeAlias = faiss.Index | Int8Lists
IndexSearcher: TypeAlias = ApproximateSearcher | Int8Searcher


@dataclass(frozen=True)
class Recipe:
    factory: str  # "Flat", a FAISS factory string of an IVF or HNSW index, or IVF447,int8
    effort: int = 0  # nprobe or efSearch; 0: measure and choose

    @property
    def refine(self) -> int:
        """k x `refine` rows are scored again in float32; 0: the index itself holds float32."""
        return REFINE.get(self.factory.rsplit(",", 1)[-1], 10)


@dataclass(frozen=True, eq=False)
class BuiltIndex:
    recipe: Recipe
    index: Index | None  # None: exact search
    searcher: Searcher
    recall: float
    filtered: Mapping[str, float] = field(default_factory=dict)  # share of rows that a filter allows -> recall
    curve: Sequence[Mapping[str, Any]] = ()  # what the tuner measured


def choose(name: str, n_rows: int, device: str = "cpu") -> Recipe:
    """The recipe of a name: auto, flat, ivf, hnsw, cagra, a FAISS factory string, or int8 lists such as IVF447,int8.

    For auto, `tuner.tune` finds a better one by measuring. DeviceUnavailable for a GPU that does not exist.
    """
    if device != "cpu" and INT8_FACTORY.fullmatch(name):
        raise InputError(f"{name} is searched on the CPU alone; use --device cpu, or SQ8 for int8", loc=("recipe",))
    gpu_number(device)
    if name.lower() == CAGRA.lower():
        if device == "cpu":
            raise DeviceUnavailable("recipe cagra is built on a GPU; use --device cuda, or recipe hnsw")
        return Recipe(CAGRA)
    nlist = int(2 ** np.round(np.log2(max(4 * np.sqrt(max(n_rows, 1)), 1))))
    nlist = max(1, min(nlist, n_rows // 39))  # FAISS expects 39 rows to train a centroid
    ivf, hnsw = Recipe(f"IVF{nlist},Flat"), Recipe("HNSW32,Flat")
    named = {"flat": Recipe("Flat"), "ivf": ivf if nlist > 1 else Recipe("Flat"), "hnsw": hnsw}
    if name == "auto":
        return named["flat" if n_rows < EXACT_ROWS else "ivf"]
    if name.lower() in named:
        return named[name.lower()]
    if not name.startswith(("IVF", "HNSW")):
        raise InputError(
            f"expected a recipe of auto, flat, ivf, hnsw, cagra or a FAISS factory string, got {name!r}",
            loc=("recipe",),
        )
    return Recipe(name)


def build(
    recipe: Recipe,
    vectors: Matrix,
    queries: Matrix,
    factors: Matrix | None = None,
    *,
    index: Index | None = None,
    device: str = "cpu",
    curve: Sequence[Mapping[str, Any]] = (),
) -> BuiltIndex:
    """Index `vectors` x `factors` with the least effort whose recall@20 of `queries` meets the target.

    `vectors` are raw, `queries` are scaled. `index` is an existing index of the same vectors, to be shared.
    BelowFloor when recall is below the floor with the best effort, filtered or not.
    """
    exact = ExactSearcher(vectors, factors)
    if recipe.factory == "Flat":
        return BuiltIndex(recipe, None, exact, 1.0, curve=curve)
    if index is None:
        index = build_index(recipe.factory, vectors, factors, device=device)
    truth = GroundTruth(exact, queries)
    if recipe.effort:
        searcher = make_searcher(index, recipe, vectors, factors)
        measured = truth.recall(searcher)
    else:
        searcher, measured = tune_effort(index, recipe, truth)
    check_floor(recipe.factory, measured.mean)
    searcher = with_filter_selftest(searcher)
    filtered = filtered_recall(searcher, exact, queries)
    for share, filtered_mean in filtered.items():
        check_floor(recipe.factory, filtered_mean, allowed=share)
    return BuiltIndex(Recipe(recipe.factory, searcher.effort), index, searcher, measured.mean, filtered, curve)


def build_index(
    factory: str,
    vectors: Matrix,
    factors: Matrix | None = None,
    *,
    centroids: Matrix | None = None,
    device: str = "cpu",
) -> Index:
    """Build the index of a factory string over all rows. With `centroids` (nlist, dim), an IVF index is not trained.

    An IVF index is trained and filled on the GPU of `device`; a graph is built on the CPU unless it is CAGRA.

    InputError for a string that FAISS cannot build over so many rows, or that is neither IVF nor HNSW.
    """
    gpu = gpu_number(device)
    if gpu is not None and factory == CAGRA:
        return build_cagra(gpu, vectors, factors)
    lists = INT8_FACTORY.fullmatch(factory)
    try:
        index = faiss.index_factory(
            vectors.shape[1], f"{lists[1]},Flat" if lists else factory, faiss.METRIC_INNER_PRODUCT
        )
        if isinstance(index, faiss.IndexIVF):
            index.cp.niter, index.cp.max_points_per_centroid = TRAIN_ROUNDS, TRAIN_ROWS
            if centroids is not None:
                index.quantizer.add(centroids)
        sample = _sample(vectors, factors, TRAIN_ROWS * getattr(index, "nlist", 1000))
        if gpu is not None and isinstance(index, faiss.IndexIVF) and not lists:
            return build_on_gpu(gpu, index, sample, vectors, factors)
        index.train(sample)
    except RuntimeError as error:
        raise InputError(f"FAISS cannot build {factory!r} over {len(vectors)} rows: {error}", loc=("recipe",)) from None
    if not (is_graph(index) or isinstance(index, faiss.IndexIVF)):
        raise InputError(f"{factory!r} is neither an IVF nor an HNSW index", loc=("recipe",))
    if lists:
        return build_int8_lists(vectors, factors, centroids_of(index, index.d))
    for start in range(0, len(vectors), BLOCK):
        part = slice(start, start + BLOCK)
        index.add(scale(vectors[part], None if factors is None else factors[part]))
    return index


def centroids_of(index: Index, dim: int) -> Matrix:
    """(nlist, dim) of an IVF index."""
    if isinstance(index, Int8Lists):
        return index.list_centroids(dim)
    return index.quantizer.reconstruct_n(0, index.nlist)


def make_searcher(index: Index, recipe: Recipe, vectors: Matrix, factors: Matrix | None = None) -> IndexSearcher:
    if isinstance(index, Int8Lists):
        return Int8Searcher(index, vectors, recipe.effort, factors)
    return ApproximateSearcher(index, vectors, recipe.effort, factors, recipe.refine)


def with_filter_selftest(searcher: IndexSearcher) -> IndexSearcher:
    """The searcher; filtered searches become exact where the index fails the self-test."""
    return searcher if filter_works(searcher) else replace(searcher, filters=False)


def tune_effort(index: Index, recipe: Recipe, truth: GroundTruth) -> tuple[IndexSearcher, Recall]:
    """The searcher with the least effort whose recall meets the target, or with the largest effort."""
    exact, measured = truth.exact, dict[int, Recall]()

    def searcher(effort: int) -> IndexSearcher:
        return make_searcher(index, Recipe(recipe.factory, effort), exact.vectors, exact.factors)

    def enough(effort: int) -> bool:
        measured[effort] = truth.recall(searcher(effort))
        return meets_target(measured[effort].mean, measured[effort].lower_bound)

    efforts = effort_ladder(index)
    best = efforts[min(bisect_left(efforts, True, key=enough), len(efforts) - 1)]
    if best not in measured:
        enough(best)
    return searcher(best), measured[best]


def meets_target(recall: float, lower_bound: float) -> bool:
    """Whether the target is met, with allowance for the sampling error and the bias of queries from the index."""
    return lower_bound >= TARGET and recall >= TARGET + SAMPLE_BIAS


def effort_ladder(index: Index) -> list[int]:
    return ladder(32, 1024) if is_graph(index) else ladder(1, index.nlist)


def ladder(smallest: int, largest: int) -> list[int]:
    """Both ends and, of 1 to 16, 18, 20, ..., all numbers between; steps are a sixteenth to an eighth of the number."""
    steps = {*range(1, 8)} | {step << power for step in range(8, 16) for power in range(8)}
    return sorted({step for step in steps if smallest < step < largest} | {smallest, largest})


def _sample(vectors: Matrix, factors: Matrix | None, n_rows: int) -> Matrix:
    """At most `n_rows` scaled rows, sampled at random, in row order."""
    if n_rows >= len(vectors):
        return scale(vectors, factors)
    rows = np.sort(np.random.default_rng(2).choice(len(vectors), n_rows, replace=False))
    return scale(vectors[rows], None if factors is None else factors[rows])
