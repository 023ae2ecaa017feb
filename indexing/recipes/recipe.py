"""Recipe: how to index, by a name or as FAISS calls it, with the least effort whose measured recall is enough."""

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
from indexing.recipes.faiss_gpu import cagra, filled_on, number
from indexing.recipes.filter_selftest import filter_works
from indexing.searchers.approximate import ApproximateSearcher, is_graph
from indexing.searchers.exact import ExactSearcher
from indexing.searchers.int8_lists import Int8Lists, build_int8_lists
from indexing.searchers.int8_searcher import Int8Searcher
from indexing.searchers.metric import BLOCK, scale
from indexing.searchers.recall import GroundTruth, Recall, check_floor, filtered_recall

EXACT_ROWS = 20_000  # below this, exact search answers within a millisecond
TARGET = 0.99  # recall@20
FLATTERY = 0.0025  # more of rows of the index than of other queries: up to .003, by the number of lists
CAGRA = "CAGRA"  # the graph of cuVS, searched on the CPU as HNSW is
CODED = re.compile(r"(IVF[1-9]\d*),int8")  # `coded.CodedLists`, nearfield's own
SAMPLE = 500
# Of k-means. FAISS's own 256 rows a list and 10 rounds take ten times as long for the same recall.
TRAIN_ROWS, TRAIN_ROUNDS = 40, 5
REFINE = {
    "Flat": 0,
    "SQfp16": 0,
    "SQ8": 5,
    CAGRA: 0,
}  # by how an index is quantised; anything else 10. float16 keeps 3 digits


Index: TypeAlias = faiss.Index | Int8Lists
IndexSearcher: TypeAlias = ApproximateSearcher | Int8Searcher


@dataclass(frozen=True)
class Recipe:
    factory: str  # "Flat", a FAISS factory string of an IVF or HNSW index, or IVF447,int8
    effort: int = 0  # nprobe or efSearch; 0: found by measuring

    @property
    def refine(self) -> int:
        """How many times k rows are scored again in float32; 0: the index has float32 itself."""
        return REFINE.get(self.factory.rsplit(",", 1)[-1], 10)


@dataclass(frozen=True, eq=False)
class Built:
    recipe: Recipe
    index: Index | None  # None: exact
    searcher: Searcher
    recall: float
    filtered: Mapping[str, float] = field(default_factory=dict)  # recall by the share of rows that a filter allows
    curve: Sequence[Mapping[str, Any]] = ()  # what the tuner saw


def choose(name: str, n_rows: int, device: str = "cpu") -> Recipe:
    """The recipe of a name: auto, flat, ivf, hnsw, cagra, a FAISS factory string, or lists of 8-bit codes, IVF447,int8.

    `tuner.tune` knows better for auto. DeviceUnavailable for a GPU that is not there.
    """
    if device != "cpu" and CODED.fullmatch(name):
        raise InputError(f"{name} is searched on the CPU alone; use --device cpu, or SQ8 for int8", loc=("recipe",))
    number(device)
    if name.lower() == CAGRA.lower():
        if device == "cpu":
            raise DeviceUnavailable("recipe cagra is built on a GPU; use --device cuda, or recipe hnsw")
        return Recipe(CAGRA)
    nlist = int(2 ** np.round(np.log2(max(4 * np.sqrt(max(n_rows, 1)), 1))))
    nlist = max(1, min(nlist, n_rows // 39))  # FAISS wants 39 rows to train a centroid
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
) -> Built:
    """Index `vectors` x `factors` with the least effort whose recall@20 of `queries` surely meets the target.

    `vectors` are raw, `queries` scaled; `index` has them already where another search needs the same one.
    BelowFloor when the best effort finds less than the floor, filtered or not.
    """
    exact = ExactSearcher(vectors, factors)
    if recipe.factory == "Flat":
        return Built(recipe, None, exact, 1.0, curve=curve)
    if index is None:
        index = filled(recipe.factory, vectors, factors, device=device)
    truth = GroundTruth(exact, queries)
    if recipe.effort:
        searcher = searcher_of(index, recipe, vectors, factors)
        found = truth.recall(searcher)
    else:
        searcher, found = tuned(index, recipe, truth)
    check_floor(recipe.factory, found.mean)
    searcher = with_filter_selftest(searcher)
    filtered = filtered_recall(searcher, exact, queries)
    for share, part in filtered.items():
        check_floor(recipe.factory, part, allowed=share)
    return Built(Recipe(recipe.factory, searcher.effort), index, searcher, found.mean, filtered, curve)


def filled(
    factory: str,
    vectors: Matrix,
    factors: Matrix | None = None,
    *,
    centroids: Matrix | None = None,
    device: str = "cpu",
) -> Index:
    """The index of a factory string over all rows; `centroids` (nlist, dim) save training those of an IVF index.

    An IVF index is trained and filled on the GPU of `device`, a graph is built on the CPU unless it is CAGRA.

    InputError for a string that FAISS cannot build over so many rows, or that is neither IVF nor HNSW.
    """
    gpu = number(device)
    if gpu is not None and factory == CAGRA:
        return cagra(gpu, vectors, factors)
    lists = CODED.fullmatch(factory)
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
            return filled_on(gpu, index, sample, vectors, factors)
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


def searcher_of(index: Index, recipe: Recipe, vectors: Matrix, factors: Matrix | None = None) -> IndexSearcher:
    if isinstance(index, Int8Lists):
        return Int8Searcher(index, vectors, recipe.effort, factors)
    return ApproximateSearcher(index, vectors, recipe.effort, factors, recipe.refine)


def with_filter_selftest(searcher: IndexSearcher) -> IndexSearcher:
    """The searcher, its filter path off, exact instead, where the index ignores filters."""
    return searcher if filter_works(searcher) else replace(searcher, filters=False)


def tuned(index: Index, recipe: Recipe, truth: GroundTruth) -> tuple[IndexSearcher, Recall]:
    """The searcher of the least effort whose recall surely meets the target, or the most effort."""
    exact, found = truth.exact, dict[int, Recall]()

    def searcher(effort: int) -> IndexSearcher:
        return searcher_of(index, Recipe(recipe.factory, effort), exact.vectors, exact.factors)

    def enough(effort: int) -> bool:
        found[effort] = truth.recall(searcher(effort))
        return met(found[effort].mean, found[effort].lower_bound)

    ladder = efforts(index)
    best = ladder[min(bisect_left(ladder, True, key=enough), len(ladder) - 1)]
    if best not in found:
        enough(best)
    return searcher(best), found[best]


def met(recall: float, surely: float) -> bool:
    """Whether the target is, by a sample of rows of the index: the chance of the sample and its flattery left off."""
    return surely >= TARGET and recall >= TARGET + FLATTERY


def efforts(index: Index) -> list[int]:
    return steps(32, 1024) if is_graph(index) else steps(1, index.nlist)


def steps(least: int, most: int) -> list[int]:
    """Both, and of 1 to 16, 18, 20 and so on what is between them: steps of a sixteenth to an eighth."""
    ladder = {*range(1, 8)} | {step << power for step in range(8, 16) for power in range(8)}
    return sorted({each for each in ladder if least < each < most} | {least, most})


def _sample(vectors: Matrix, factors: Matrix | None, n_rows: int) -> Matrix:
    """At most `n_rows` scaled rows, drawn at random, in order."""
    if n_rows >= len(vectors):
        return scale(vectors, factors)
    rows = np.sort(np.random.default_rng(2).choice(len(vectors), n_rows, replace=False))
    return scale(vectors[rows], None if factors is None else factors[rows])
