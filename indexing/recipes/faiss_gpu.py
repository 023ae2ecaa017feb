"""FAISS indexes on a GPU: building, memory check, and search behind the searcher contract.

Every GPU index has a CPU twin. The twin answers searches that the GPU cannot (a filter that the GPU index ignores, a k
beyond the GPU's limit), and all searches while the GPU loads or has failed.
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
SCRATCH_BYTES = 256 * 2**20  # of FAISS, for each GPU
MARGIN = 1.1  # over the computed size
MAX_K = 2048  # the largest k of a GPU search
MIN_ITOPK = 128  # of a CAGRA search
Twin = ExactSearcher | ApproximateSearcher | Int8Searcher


def parse_device(device: str) -> int | None:
    """The GPU number of a device string, whether or not the GPU exists; None is the CPU."""
    if device == "cpu":
        return None
    match = DEVICE.fullmatch(device)
    if match is None:
        raise InputError(f"expected a device of cpu, cuda or cuda:1, got {device!r}", loc=("device",))
    return int(match[1] or 0)


def gpu_number(device: str) -> int | None:
    """The GPU number of a device: `cuda` is 0, `cuda:1` is 1; None is the CPU. DeviceUnavailable if it is missing."""
    gpu, n_gpus = parse_device(device), getattr(faiss, "get_num_gpus", int)()
    if gpu is not None and gpu >= n_gpus:
        available = f"{n_gpus} GPUs" if n_gpus else "no GPU"
        raise DeviceUnavailable(f"{device} was requested, but FAISS sees {available} here; use --device cpu")
    return gpu


def free_bytes(gpu: int, within_s: float = 30) -> int:
    """Free memory of a GPU, as its driver reports it."""
    command = ["nvidia-smi", f"--id={gpu}", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=within_s, check=True)
        return int(done.stdout.strip()) * 2**20
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise DeviceUnavailable(f"the free memory of GPU {gpu} cannot be read: {error}") from error


def needed_bytes(index: faiss.Index | None, n_rows: int, dim: int) -> int:
    """Memory that an index needs on a GPU, scratch space included; None: exact search over float32 vectors."""
    if isinstance(index, faiss.IndexIVF):
        size = n_rows * (index.code_size + 8) + index.nlist * dim * 4
    elif isinstance(index, faiss.IndexHNSW):  # as CAGRA: vectors and 64 neighbours each
        size = n_rows * (dim * 4 + 64 * 4)
    else:
        size = n_rows * dim * 4
    return int(MARGIN * size) + SCRATCH_BYTES


def check_fits(needed: int, free: int, gpu: int) -> None:
    """DeviceUnavailable where an index does not fit into the free memory."""
    if needed > free:
        raise DeviceUnavailable(
            f"the index needs {needed / 2**20:,.0f} MiB, GPU {gpu} has {free / 2**20:,.0f} MiB free; "
            "choose a smaller recipe such as IVF4096,SQ8, or --device cpu"
        )


def gpu_resources() -> Any:
    resources = faiss.StandardGpuResources()
    resources.setTempMemory(SCRATCH_BYTES)
    return resources


def build_on_gpu(gpu: int, empty: faiss.Index, sample: Matrix, vectors: Matrix, factors: Matrix | None) -> faiss.Index:
    """Train and fill an empty CPU index on a GPU; returns it as a CPU index."""
    check_fits(needed_bytes(empty, len(vectors), vectors.shape[1]), free_bytes(gpu), gpu)
    index = faiss.index_cpu_to_gpu(gpu_resources(), gpu, empty)
    index.train(sample)
    for start in range(0, len(vectors), BLOCK):
        part = slice(start, start + BLOCK)
        index.add(scale(vectors[part], None if factors is None else factors[part]))
    return faiss.index_gpu_to_cpu(index)


def build_cagra(gpu: int, vectors: Matrix, factors: Matrix | None) -> faiss.Index:
    """Build a CAGRA graph with cuVS; returns it in a form that the CPU can search too."""
    if not hasattr(faiss, "GpuIndexCagra"):
        raise DeviceUnavailable("recipe cagra needs FAISS with cuVS; install faiss-gpu-cuvs, or use recipe hnsw")
    check_fits(2 * needed_bytes(None, len(vectors), vectors.shape[1]), free_bytes(gpu), gpu)
    built = faiss.GpuIndexCagra(gpu_resources(), vectors.shape[1], faiss.METRIC_INNER_PRODUCT, _cagra_on(gpu))
    built.train(scale(vectors, factors))
    index = faiss.IndexHNSWCagra()
    built.copyTo(index)
    return index


@dataclass(frozen=True, eq=False)
class GpuSearcher:
    """`index` on a GPU, `twin` on the CPU. Rows of a quantised index are scored again with the twin's vectors."""

    index: Any
    twin: Twin
    memory: Any = None  # the GPU resources, which must live as long as the index
    filters: bool = True  # False: this index ignores selectors, so the twin answers filtered searches
    _selectors: MaskCache[faiss.IDSelector] = field(default_factory=MaskCache)

    @property
    def exact_reference(self) -> ExactSearcher:
        return self.twin.exact_reference

    def search(self, queries: Matrix, k: int, allowed: Mask | None = None) -> Found:
        width = k * max(getattr(self.twin, "refine", 0), 1)
        if width > min(MAX_K, len(self.exact_reference.vectors)) or (allowed is not None and not self.filters):
            return self.twin.search(queries, k, allowed)
        effort, selector = getattr(self.twin, "effort", 0), None
        if allowed is not None and isinstance(self.twin, ApproximateSearcher):
            plan = self.twin.plan(allowed)
            if plan.subset is not None:
                return self.twin.search(queries, k, allowed)
            effort, selector = math.ceil(effort * len(self.twin.vectors) / plan.matching), plan.selector
        elif allowed is not None:
            selector = self._selectors.get(allowed, self._selector)
        scores, rows = self.search_only_index(queries, width, effort, selector)
        return self._complete(queries, k, allowed, self._rescored(queries, k, rows) if width > k else (scores, rows))

    def _rescored(self, queries: Matrix, k: int, rows: npt.NDArray[np.int64]) -> Found:
        scores = self.exact_reference.scores(queries, rows)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)

    def _complete(self, queries: Matrix, k: int, allowed: Mask | None, found: Found) -> Found:
        """`found`, with the twin's answer for each query that got fewer than k rows."""
        scores, rows = found
        short = np.flatnonzero(rows[:, -1] < 0)
        if len(short):
            scores[short], rows[short] = self.twin.search(queries[short], k, allowed)
        return scores, rows

    def search_only_index(self, queries: Matrix, k: int, effort: int, selector: faiss.IDSelector | None) -> Found:
        """The answer of the GPU index alone."""
        options: dict[str, Any] = {} if selector is None else {"sel": selector}
        index: Any = self.index
        if isinstance(index, _kind("GpuIndexIVF")):
            options["nprobe"] = min(effort, index.getNumLists())
            return index.search(queries, k, params=faiss.SearchParametersIVF(**options))
        if isinstance(index, _kind("GpuIndexCagra")):
            options["itopk_size"] = max(MIN_ITOPK, effort, k)
            return index.search(queries, k, params=faiss.SearchParametersCagra(**options))
        return index.search(queries, k, params=faiss.SearchParameters(**options) if options else None)

    def _selector(self, allowed: Mask) -> faiss.IDSelector:
        return bitmap_selector(allowed[: len(self.exact_reference.vectors)])


def _cagra_on(gpu: int) -> Any:
    config = faiss.GpuIndexCagraConfig()
    config.device = gpu
    return config


def _kind(name: str) -> Any:
    """A FAISS class that only some builds have."""
    return getattr(faiss, name, type(None))


def copy_to_gpu(gpu: int, twin: Twin) -> GpuSearcher:
    """Copy the index of `twin` to a GPU and self-test its filters there. DeviceUnavailable where it does not fit.

    FAISS has no counterpart of `Int8Lists`: where the CPU searches these, the GPU searches exactly.
    """
    exact = twin.exact_reference
    index = twin.index if isinstance(twin, ApproximateSearcher) else None
    check_fits(needed_bytes(index, *exact.vectors.shape), free_bytes(gpu), gpu)
    memory = gpu_resources()
    if index is None:
        config = faiss.GpuIndexFlatConfig()
        config.device = gpu
        index_on_gpu = faiss.GpuIndexFlatIP(memory, exact.vectors.shape[1], config)
        index_on_gpu.add(scale(exact.vectors, exact.factors))
    elif isinstance(index, faiss.IndexHNSW):
        if not hasattr(faiss, "GpuIndexCagra") or not isinstance(index, faiss.IndexHNSWCagra):
            raise DeviceUnavailable("an HNSW graph cannot be searched on a GPU; reindex with recipe ivf or cagra")
        index_on_gpu = faiss.GpuIndexCagra(memory, exact.vectors.shape[1], faiss.METRIC_INNER_PRODUCT, _cagra_on(gpu))
        index_on_gpu.copyFrom(index)
    else:
        index_on_gpu = faiss.index_cpu_to_gpu(memory, gpu, index)
    searcher = GpuSearcher(index_on_gpu, twin, memory)
    if filter_works(searcher) and finds_far_from_query(searcher, exact):
        return searcher
    return replace(searcher, filters=False)


def filter_works(searcher: GpuSearcher) -> bool:
    """Whether a filtered search on the GPU finds only allowed rows, and nearly the best of them."""
    exact = searcher.exact_reference
    rows = np.linspace(0, len(exact.vectors) - 1, TEST_QUERIES, dtype=np.int64)
    allowed = np.random.default_rng(0).random(len(exact.vectors)) < 0.5
    allowed[rows] = False  # the queries themselves: an index that ignores the filter returns them
    k = min(TEST_K, int(allowed.sum()))
    if k == 0:
        return True
    queries = scale(exact.vectors[rows], None)
    try:
        effort = max(2 * getattr(searcher.twin, "effort", 0), 16 * TEST_K)
        _, found = searcher.search_only_index(queries, k, effort, bitmap_selector(allowed))
    except RuntimeError:  # some FAISS indexes refuse selectors
        return False
    if not allowed[found[found >= 0]].all():
        return False
    last = exact.search(queries, k, allowed)[0][:, -1:]
    return bool(np.mean(exact.scores(queries, found) >= last - 1e-4 * np.abs(last)) >= 0.5)
