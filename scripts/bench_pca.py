"""Our pca compared with scikit-learn's solvers: time for the same error, and memory when it streams.

Generates float32 records with a decaying spectrum. Each solver runs in its own process; the best of several repeats
counts. The error is the mean squared reconstruction error of about 100,000 records. `streamed` reads a memory-mapped
NPY file block by block; its memory is what the process itself allocates (anonymous pages), because pages of a mapped
file can be dropped.

    python scripts/bench_pca.py --n 1000000 --width 256 --dim 32 --json
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil

BLOCK = 50_000
SOLVERS = ("nearfield", "nearfield_streamed", "covariance_eigh", "randomized", "arpack", "full")


def main() -> None:
    args = _arguments()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "records.npy"
        _write(file, args.n, args.width, args.seed)
        for solver in args.solvers:
            receiver, sender = context.Pipe(duplex=False)
            worker = context.Process(target=_measure, args=(solver, file, args.dim, args.repeats, sender))
            worker.start()
            sender.close()
            try:
                row = {"solver": solver, "n": args.n, "width": args.width, "dim": args.dim} | receiver.recv()
            except EOFError:
                row = {"solver": solver, "failed": "the process ended without an answer; out of memory?"}
            worker.join()
            print(json.dumps(row) if args.json else "  ".join(f"{k} {v}" for k, v in row.items()), flush=True)


def _write(file: Path, n: int, width: int, seed: int) -> None:
    """Records of a rotated Gaussian with variances 1, 1/2, 1/3, ..., and means far from 0, written block by block."""
    draw = np.random.default_rng(seed)
    turn = np.linalg.qr(draw.standard_normal((width, width)))[0] / np.sqrt(np.arange(1, width + 1))[:, None]
    turn, mean = turn.astype(np.float32), draw.normal(0, 3, width).astype(np.float32)
    out = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=(n, width))
    for start in range(0, n, BLOCK):
        size = min(BLOCK, n - start)
        out[start : start + size] = draw.standard_normal((size, width), np.float32) @ turn + mean
    out.flush()


def _measure(solver: str, file: Path, dim: int, repeats: int, sender: Any) -> None:
    mapped = np.load(file, mmap_mode="r")
    records = mapped if solver == "nearfield_streamed" else np.ascontiguousarray(mapped)
    before, took = _anonymous_mb(), []
    with _Peak() as peak:
        for _ in range(repeats):
            started = time.perf_counter()
            components, mean = _fit(solver, records, dim)
            took.append(time.perf_counter() - started)
    sample = np.asarray(mapped[:: max(1, len(mapped) // 100_000)]) - mean
    error = float(np.mean((sample - sample @ components.T @ components) ** 2))
    sender.send({"fit_seconds": round(min(took), 3), "mse": round(error, 7), "extra_mb": round(peak.mb - before)})


def _fit(solver: str, records: npt.NDArray, dim: int) -> tuple[npt.NDArray, npt.NDArray]:
    if solver.startswith("nearfield"):
        from engine.embedders.feature_embedders.pca import PCA

        core = PCA(dim).fit(records)
        return core.components, core.mean
    from sklearn.decomposition import PCA as Reference

    reference = Reference(dim, svd_solver=solver, random_state=0).fit(records)
    return reference.components_, reference.mean_


def _anonymous_mb() -> float:
    memory = psutil.Process().memory_full_info()
    return (memory.rss - memory.shared) / 2**20


class _Peak:
    """The most anonymous memory while it is open, looked at every 20 ms."""

    def __enter__(self) -> _Peak:
        self.mb, self._done = _anonymous_mb(), threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watch.join()

    def _look(self) -> None:
        while not self._done.wait(0.02):
            self.mb = max(self.mb, _anonymous_mb())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--dim", type=int, default=32)
    parser.add_argument("--solvers", nargs="+", default=list(SOLVERS[:4]), choices=SOLVERS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON line per solver")
    return parser.parse_args()


if __name__ == "__main__":
    main()
