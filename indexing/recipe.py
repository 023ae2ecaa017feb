"""Recipe: how to index. The cheapest that fits the size, its effort raised until measured recall meets the target."""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np
import numpy.typing as npt

from engine.errors import BelowFloor, DeviceUnavailable, InputError
from engine.recommend import Searcher
from engine.vectors import Matrix
from indexing.approximate import ApproximateSearcher, is_graph
from indexing.exact import ExactSearcher

EXACT_ROWS = 20_000  # below this, exact search answers within a millisecond
TARGET = 0.99
FLOOR = 0.95
RECALL_K = 20
SAMPLE = 500


@dataclass(frozen=True)
class Recipe:
    factory: str  # "Flat", or a FAISS factory string of an IVF or HNSW index
    effort: int = 0  # nprobe or efSearch; 0: found by measuring


@dataclass(frozen=True, eq=False)
class Built:
    recipe: Recipe
    index: faiss.Index | None  # None: exact
    searcher: Searcher
    recall: float


def choose(name: str, n_rows: int, device: str = "cpu") -> Recipe:
    """The recipe of a name: auto, flat, ivf, hnsw, or a FAISS factory string."""
    if device != "cpu" and not getattr(faiss, "get_num_gpus", int)():
        raise DeviceUnavailable(f"{device} was asked for and FAISS sees no GPU here; use --device cpu")
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
            f"expected a recipe of auto, flat, ivf, hnsw or a FAISS factory string, got {name!r}", loc=("recipe",)
        )
    return Recipe(name)


def build(recipe: Recipe, vectors: Matrix, queries: Matrix) -> Built:
    """Index `vectors`, raising the effort until recall@20 of `queries` against exact search meets the target.

    Raises BelowFloor when the best effort stays under the floor.
    """
    if recipe.factory == "Flat":
        return Built(recipe, None, ExactSearcher(vectors), 1.0)
    try:
        index = faiss.index_factory(vectors.shape[1], recipe.factory, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors)
    except RuntimeError as error:
        raise InputError(
            f"FAISS cannot build {recipe.factory!r} over {len(vectors)} rows: {error}", loc=("recipe",)
        ) from None
    if not (is_graph(index) or isinstance(index, faiss.IndexIVF)):
        raise InputError(f"{recipe.factory!r} is neither an IVF nor an HNSW index", loc=("recipe",))
    index.add(vectors)
    best = 0.0
    for effort in [recipe.effort] if recipe.effort else efforts(index):
        searcher = ApproximateSearcher(index, vectors, effort)
        best = recall(searcher, ExactSearcher(vectors), queries)
        if best >= TARGET:
            break
    if best < FLOOR:
        raise BelowFloor(
            f"{recipe.factory} found {best:.1%} of the true top {RECALL_K}, expected at least {FLOOR:.1%}; "
            "raise the effort or choose a larger recipe"
        )
    return Built(Recipe(recipe.factory, effort), index, searcher, best)


def efforts(index: faiss.Index) -> list[int]:
    if is_graph(index):
        return [32, 64, 128, 256, 512, 1024]
    return [n for n in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048) if n < index.nlist] + [index.nlist]


def recall(searcher: Searcher, exact: ExactSearcher, queries: Matrix, k: int = RECALL_K) -> float:
    """Share of the true top k that is found; a row that ties with the k-th counts as found."""
    if len(queries) == 0:
        return 1.0
    true_rows, rows = exact.search(queries, k)[1], searcher.search(queries, k)[1]
    wanted = np.maximum((true_rows >= 0).sum(axis=1), 1)
    last = _products(queries, exact.vectors, true_rows)[np.arange(len(queries)), wanted - 1]
    enough = _products(queries, exact.vectors, rows) >= (last - 1e-6 * np.abs(last))[:, None]
    found = ((rows >= 0) & enough).sum(axis=1)
    return float(np.mean(np.minimum(found, wanted) / wanted))


def _products(queries: Matrix, vectors: Matrix, rows: npt.NDArray[np.int64]) -> Matrix:
    """The true score of every found row, (n, k): a quantised index reports estimates."""
    return np.asarray(np.einsum("qd,qkd->qk", queries, vectors[rows]))
