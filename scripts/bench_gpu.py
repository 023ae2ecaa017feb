"""Search on a GPU compared with the limits of the GPU, and with the CPU.

Flat and IVF indexes over the same unit vectors answer top-20 queries in batches through nearfield's own searchers.
Times include the transfer of queries and answers. Two limits are measured in the same run with torch on the same
device: the speed of memory copies and of float32 matrix products. They give the least time of a batch: the time to read
everything once (all vectors; for IVF the centroids and the lists that a batch probes) and the time to compute all
products. `ratio_to_ceiling` is the measured time divided by the larger of the two; data that fits a cache can give a
ratio below 1. `cpu_ms` is the time of the CPU index of the same build, as in a server without a GPU.

    python scripts/bench_gpu.py [--n 1000000,10000000] [--dim 128] [--batches 1,32,1024] [--device cuda] [--json]

`--device cpu` runs everything on the CPU. `made_items` generates the vectors in blocks, so that 10 million vectors of
128 dimensions need 5 GB of memory, and their IVF index 5 GB more.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
import torch
from made_items import clustered

from engine.errors import DeviceUnavailable, NearfieldError
from engine.recommending.values.searcher import Found, Mask, Searcher
from engine.values.vectors import Matrix
from indexing.recipes.faiss_gpu import copy_to_gpu, gpu_number
from indexing.recipes.recipe import build, choose
from indexing.searchers.approximate import ApproximateSearcher
from indexing.searchers.exact import ExactSearcher
from indexing.searchers.metric import BLOCK, normalise_rows
from indexing.searchers.recall import GroundTruth

K = 20
QUERIES = 64  # at least; whole batches
CALLS, MOST_CALLS = 3, 1000  # timed calls, at least and at most
ROUNDS = 5  # of a limit; the best counts
COPIED = {"cuda": 2**30, "cpu": 2**27}  # bytes copied
SIDE = {"cuda": 8192, "cpu": 1024}  # of the square matrices that are multiplied
FLOAT = 4  # bytes


@dataclass(frozen=True)
class Ceilings:
    """The best measured speeds of the device."""

    bytes_per_s: float  # read and written by a copy
    operations_per_s: float  # of a float32 matrix product; a multiplication and an addition are two

    def ms(self, work: Work) -> tuple[float, float]:
        return work.bytes / self.bytes_per_s * 1e3, work.operations / self.operations_per_s * 1e3


@dataclass(frozen=True)
class Work:
    """The least work for a batch with this index."""

    bytes: float
    operations: float


@dataclass(frozen=True, eq=False)
class InBatches:
    """A searcher that gets queries in batches of this size."""

    inner: Searcher
    batch: int

    def search(self, queries: Matrix, k: int, allowed: Mask | None = None) -> Found:
        found = [self.inner.search(part, k, allowed) for part in _batches(queries, self.batch)]
        scores, rows = zip(*found, strict=True)
        return np.concatenate(scores), np.concatenate(rows)


def main() -> None:
    options = arguments()
    try:
        for row in measured(options):
            text = json.dumps(row) if options.json else "  ".join(f"{name} {value}" for name, value in row.items())
            print(text, flush=True)
    except NearfieldError as error:
        raise SystemExit(f"bench_gpu: {error}") from None


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=numbers, default=numbers("1000000,10000000"), metavar="N,N", help="vectors")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--batches", type=numbers, default=numbers("1,32,1024"), metavar="N,N", help="queries at once")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1 or cpu")
    parser.add_argument("--seconds", type=float, default=2.0, help="time limit for each index and batch size")
    parser.add_argument("--json", action="store_true", help="one JSON line per index, n and batch")
    return parser.parse_args()


def numbers(text: str) -> list[int]:
    """Parse a comma-separated list of numbers above 0."""
    found = [int(part) for part in text.split(",")]
    if min(found) < 1:
        raise ValueError(text)
    return found


def measured(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    dim, device = options.dim, options.device
    gpu = gpu_number(device)
    if gpu is not None and not torch.cuda.is_available():
        raise DeviceUnavailable(f"{device} was requested, but torch sees no GPU here; install a CUDA build of torch")
    ceilings = _ceilings(torch.device(device))
    _say(f"{ceilings.bytes_per_s / 1e9:,.0f} GB/s copied, {ceilings.operations_per_s / 1e12:,.2f} TFLOP/s multiplied")
    asked = {batch: batch * math.ceil(QUERIES / batch) for batch in options.batches}
    queries = normalise_rows(clustered(max(asked.values()), dim, seed=2**31))
    for n in options.n:
        vectors = _vectors(n, dim)
        truths = {batch: GroundTruth(ExactSearcher(vectors), queries[:count], K) for batch, count in asked.items()}
        for name in ("flat", "ivf"):
            started = time.perf_counter()
            built = build(choose(name, n, device), vectors, queries, device=device)
            _say(f"{built.recipe} over {n:,} built and measured in {time.perf_counter() - started:.1f} s")
            assert isinstance(built.searcher, ExactSearcher | ApproximateSearcher)
            searcher = built.searcher if gpu is None else copy_to_gpu(gpu, built.searcher)
            for batch, truth in truths.items():
                ms = _ms(searcher, truth.queries, batch, options.seconds)
                least = ceilings.ms(_work(built.searcher, truth.queries, batch))
                cpu_ms = ms if gpu is None else _ms(built.searcher, truth.queries, batch, options.seconds)
                yield {
                    "index": built.recipe.factory,
                    "n": n,
                    "dim": dim,
                    "batch": batch,
                    "qps": _short(batch / ms * 1e3),
                    "ms": _short(ms),
                    "recall": round(truth.recall(InBatches(searcher, batch)).mean, 4),
                    "bandwidth_ceiling_ms": _short(least[0]),
                    "arithmetic_ceiling_ms": _short(least[1]),
                    "ratio_to_ceiling": _short(ms / max(least)),
                    "cpu_ms": _short(cpu_ms),
                }
            del built, searcher  # frees memory for the next index


def _vectors(n: int, dim: int) -> Matrix:
    """(n, dim) unit vectors, generated in blocks to avoid a second copy."""
    made = np.empty((n, dim), np.float32)
    for block, start in enumerate(range(0, n, BLOCK)):
        part = made[start : start + BLOCK]
        part[:] = normalise_rows(clustered(len(part), dim, seed=block))
    return made


def _ceilings(device: torch.device) -> Ceilings:
    made = Ceilings(_copied(device), _multiplied(device))
    if device.type == "cuda":
        torch.cuda.empty_cache()  # frees memory for the indexes
    return made


def _copied(device: torch.device) -> float:
    """Bytes per second."""
    source = torch.ones(COPIED[device.type] // FLOAT, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / _best_s(lambda: target.copy_(source), device)


def _multiplied(device: torch.device) -> float:
    """Operations per second."""
    side = SIDE[device.type]
    left, right, product = (torch.ones(side, side, device=device) for _ in range(3))
    return 2 * side**3 / _best_s(lambda: torch.mm(left, right, out=product), device)


def _best_s(act: Callable[[], object], device: torch.device) -> float:
    """The best of several rounds after a warm-up round."""
    taken = []
    for _ in range(ROUNDS + 1):
        _wait(device)
        started = time.perf_counter()
        act()
        _wait(device)
        taken.append(time.perf_counter() - started)
    return min(taken[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _ms(searcher: Searcher, queries: Matrix, batch: int, at_least_s: float) -> float:
    """The median time of calls with one batch each, after a warm-up call."""
    parts = list(_batches(queries, batch))
    searcher.search(parts[0], K)
    seconds: list[float] = []
    while len(seconds) < CALLS or (sum(seconds) < at_least_s and len(seconds) < MOST_CALLS):
        started = time.perf_counter()
        searcher.search(parts[len(seconds) % len(parts)], K)
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds)) * 1e3


def _batches(queries: Matrix, batch: int) -> Iterator[Matrix]:
    for start in range(0, len(queries), batch):
        yield queries[start : start + batch]


def _work(searcher: ExactSearcher | ApproximateSearcher, queries: Matrix, batch: int) -> Work:
    """The mean over batches."""
    n, dim = searcher.vectors.shape
    if isinstance(searcher, ExactSearcher):
        return Work(n * dim * FLOAT, 2 * n * dim * batch)
    index = searcher.index
    assert isinstance(index, faiss.IndexIVF)
    sizes = np.array([index.invlists.list_size(each) for each in range(index.nlist)])
    read, products = [], []
    for part in _batches(queries, batch):
        probed = index.quantizer.search(part, min(searcher.effort, index.nlist))[1]
        read.append(int(sizes[np.unique(probed)].sum()))  # a list probed by several queries is read once
        products.append(int(sizes[probed].sum()) + batch * index.nlist)
    entry = index.code_size + 8  # a vector and its row
    return Work(index.nlist * dim * FLOAT + float(np.mean(read)) * entry, 2 * dim * float(np.mean(products)))


def _short(value: float) -> float:
    """Round to four significant digits."""
    return float(f"{value:.4g}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
