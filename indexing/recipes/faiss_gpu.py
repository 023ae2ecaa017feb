"""GPU: FAISS indexes on a GPU behind the searcher contract, built there, and admitted only where they fit.

An index on a GPU has a twin on the CPU: it answers what the GPU cannot (a filter that the GPU index ignores, more rows
than a GPU selects) and all of it while the GPU loads or has failed.
"""

from __future__ import annotations

import math
import re
import subprocess
from dataclasses import dataclass, field, replace
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from engine.errors import DeviceUnavailable, InputError
from engine.recommending.values.searcher import Found, Mask
from engine.values.vectors import Matrix
from indexing.recipes.filter_selftest import TEST_K, TEST_QUERIES, finds_far_from_query
from indexing.searchers.approximate import ApproximateSearcher, bitmap_selector
from indexing.searchers.exact import ExactSearcher
from indexing.searchers.int8_searcher import Int8Searcher
from indexing.searchers.mask_cache import MaskCache
from indexing.searchers.metric import BLOCK, scale

DEVICE = re.compile(r"cuda(?::(\d+))?")
SCRATCH_BYTES = 256 * 2**20  # of FAISS, per GPU
MARGIN = 1.1  # of what is reckoned
MOST_ROWS = 2048  # that a GPU selects for a query
ITOPK = 128  # of a CAGRA search, at least
Twin = ExactSearcher | ApproximateSearcher | Int8Searcher


def asked(device: str) -> int | None:
    """The GPU that a device names, there or not."""
    if device == "cpu":
        return None
    named = DEVICE.fullmatch(device)
    if named is None:
        raise InputError(f"expected a device of cpu, cuda or cuda:1, got {device!r}", loc=("device",))
    return int(named[1] or 0)


def number(device: str) -> int | None:
    """The GPU of a device: `cuda` is 0, `cuda:1` is 1; None is the CPU. It is an error if it is not there."""
    gpu, found = asked(device), getattr(faiss, "get_num_gpus", int)()
    if gpu is not None and gpu >= found:
        sees = f"{found} GPUs" if found else "no GPU"
        raise DeviceUnavailable(f"{device} was asked for and FAISS sees {sees} here; use --device cpu")
    return gpu


def free_bytes(gpu: int, within_s: float = 30) -> int:
    """Free memory of a GPU, as its driver tells."""
    command = ["nvidia-smi", f"--id={gpu}", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=within_s, check=True)
        return int(done.stdout.strip()) * 2**20
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise DeviceUnavailable(f"the free memory of GPU {gpu} cannot be read: {error}") from error


def needed_bytes(index: faiss.Index | None, n_rows: int, dim: int) -> int:
    """What an index takes on a GPU, scratch space included; None: exact search over float32 vectors."""
    if isinstance(index, faiss.IndexIVF):
        held = n_rows * (index.code_size + 8) + index.nlist * dim * 4
    elif isinstance(index, faiss.IndexHNSW):  # as CAGRA: vectors and 64 neighbours each
        held = n_rows * (dim * 4 + 64 * 4)
    else:
        held = n_rows * dim * 4
    return int(MARGIN * held) + SCRATCH_BYTES


def admit(needed: int, free: int, gpu: int) -> None:
    """DeviceUnavailable where an index does not fit."""
    if needed > free:
        raise DeviceUnavailable(
            f"the index needs {needed / 2**20:,.0f} MiB, GPU {gpu} has {free / 2**20:,.0f} MiB free; "
            "choose a smaller recipe such as IVF4096,SQ8, or --device cpu"
        )


def resources() -> Any:
    made = faiss.StandardGpuResources()
    made.setTempMemory(SCRATCH_BYTES)
    return made


def filled_on(gpu: int, empty: faiss.Index, sample: Matrix, vectors: Matrix, factors: Matrix | None) -> faiss.Index:
    """An untrained CPU index, trained and filled on a GPU, brought back."""
    admit(needed_bytes(empty, len(vectors), vectors.shape[1]), free_bytes(gpu), gpu)
    index = faiss.index_cpu_to_gpu(resources(), gpu, empty)
    index.train(sample)
    for start in range(0, len(vectors), BLOCK):
        part = slice(start, start + BLOCK)
        index.add(scale(vectors[part], None if factors is None else factors[part]))
    return faiss.index_gpu_to_cpu(index)


def cagra(gpu: int, vectors: Matrix, factors: Matrix | None) -> faiss.Index:
    """A graph built by cuVS, as a graph that the CPU searches too."""
    if not hasattr(faiss, "GpuIndexCagra"):
        raise DeviceUnavailable("recipe cagra needs FAISS with cuVS; install faiss-gpu-cuvs, or use recipe hnsw")
    admit(2 * needed_bytes(None, len(vectors), vectors.shape[1]), free_bytes(gpu), gpu)
    built = faiss.GpuIndexCagra(resources(), vectors.shape[1], faiss.METRIC_INNER_PRODUCT, _cagra_on(gpu))
    built.train(scale(vectors, factors))
    index = faiss.IndexHNSWCagra()
    built.copyTo(index)
    return index


@dataclass(frozen=True, eq=False)
class GpuSearcher:
    """`index` on a GPU, `twin` on the CPU; scores of a quantised index are made true by the twin's vectors."""

    index: Any
    twin: Twin
    memory: Any = None  # lives as long as the index
    filters: bool = True  # False: this index ignores selectors, so that the twin answers filtered searches
    _selectors: MaskCache[faiss.IDSelector] = field(default_factory=MaskCache)

    @property
    def exact_reference(self) -> ExactSearcher:
        return self.twin.exact_reference

    def search(self, queries: Matrix, k: int, allowed: Mask | None = None) -> Found:
        width = k * max(getattr(self.twin, "refine", 0), 1)
        if width > min(MOST_ROWS, len(self.exact_reference.vectors)) or (allowed is not None and not self.filters):
            return self.twin.search(queries, k, allowed)
        effort, selector = getattr(self.twin, "effort", 0), None
        if allowed is not None and isinstance(self.twin, ApproximateSearcher):
            plan = self.twin.plan(allowed)
            if plan.subset is not None:
                return self.twin.search(queries, k, allowed)
            effort, selector = math.ceil(effort * len(self.twin.vectors) / plan.matching), plan.selector
        elif allowed is not None:
            selector = self._selectors.get(allowed, self._selector)
        scores, rows = self.raw(queries, width, effort, selector)
        return self._complete(queries, k, allowed, self._rescored(queries, k, rows) if width > k else (scores, rows))

    def _rescored(self, queries: Matrix, k: int, rows: npt.NDArray[np.int64]) -> Found:
        scores = self.exact_reference.scores(queries, rows)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)

    def _complete(self, queries: Matrix, k: int, allowed: Mask | None, found: Found) -> Found:
        """The twin answers the queries that got too few."""
        scores, rows = found
        short = np.flatnonzero(rows[:, -1] < 0)
        if len(short):
            scores[short], rows[short] = self.twin.search(queries[short], k, allowed)
        return scores, rows

    def raw(self, queries: Matrix, k: int, effort: int, selector: faiss.IDSelector | None) -> Found:
        """The GPU's own answer."""
        options: dict[str, Any] = {} if selector is None else {"sel": selector}
        index: Any = self.index
        if isinstance(index, _kind("GpuIndexIVF")):
            options["nprobe"] = min(effort, index.getNumLists())
            return index.search(queries, k, params=faiss.SearchParametersIVF(**options))
        if isinstance(index, _kind("GpuIndexCagra")):
            options["itopk_size"] = max(ITOPK, effort, k)
            return index.search(queries, k, params=faiss.SearchParametersCagra(**options))
        return index.search(queries, k, params=faiss.SearchParameters(**options) if options else None)

    def _selector(self, allowed: Mask) -> faiss.IDSelector:
        return bitmap_selector(allowed[: len(self.exact_reference.vectors)])


def _cagra_on(gpu: int) -> Any:
    config = faiss.GpuIndexCagraConfig()
    config.device = gpu
    return config


def _kind(name: str) -> Any:
    """A class that only some builds of FAISS have."""
    return getattr(faiss, name, type(None))


def on_gpu(gpu: int, twin: Twin) -> GpuSearcher:
    """The searcher of the same index on a GPU, its filters tested there. DeviceUnavailable where it does not fit.

    FAISS has no lists of 8-bit differences: where the CPU has those, the GPU searches exactly.
    """
    exact = twin.exact_reference
    index = twin.index if isinstance(twin, ApproximateSearcher) else None
    admit(needed_bytes(index, *exact.vectors.shape), free_bytes(gpu), gpu)
    memory = resources()
    if index is None:
        config = faiss.GpuIndexFlatConfig()
        config.device = gpu
        moved = faiss.GpuIndexFlatIP(memory, exact.vectors.shape[1], config)
        moved.add(scale(exact.vectors, exact.factors))
    elif isinstance(index, faiss.IndexHNSW):
        if not hasattr(faiss, "GpuIndexCagra") or not isinstance(index, faiss.IndexHNSWCagra):
            raise DeviceUnavailable("a graph of the CPU is not searched on a GPU; reindex with recipe ivf or cagra")
        moved = faiss.GpuIndexCagra(memory, exact.vectors.shape[1], faiss.METRIC_INNER_PRODUCT, _cagra_on(gpu))
        moved.copyFrom(index)
    else:
        moved = faiss.index_cpu_to_gpu(memory, gpu, index)
    made = GpuSearcher(moved, twin, memory)
    return made if filter_works(made) and finds_far_from_query(made, exact) else replace(made, filters=False)


def filter_works(searcher: GpuSearcher) -> bool:
    """Whether a filtered search on the GPU finds only allowed rows, and the best of them."""
    exact = searcher.exact_reference
    rows = np.linspace(0, len(exact.vectors) - 1, TEST_QUERIES, dtype=np.int64)
    allowed = np.random.default_rng(0).random(len(exact.vectors)) < 0.5
    allowed[rows] = False  # the best answers of an index that ignores the filter
    k = min(TEST_K, int(allowed.sum()))
    if k == 0:
        return True
    queries = scale(exact.vectors[rows], None)
    try:
        effort = max(2 * getattr(searcher.twin, "effort", 0), 16 * TEST_K)
        _, found = searcher.raw(queries, k, effort, bitmap_selector(allowed))
    except RuntimeError:  # FAISS says so of some
        return False
    if not allowed[found[found >= 0]].all():
        return False
    last = exact.search(queries, k, allowed)[0][:, -1:]
    return bool(np.mean(exact.scores(queries, found) >= last - 1e-4 * np.abs(last)) >= 0.5)
