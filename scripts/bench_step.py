"""A training step of `mf` or `elsa` against the compute and memory ceilings of the device (a roofline).

The product's own fit runs on generated interactions. A step's time is the reported time of a pass (which ends with a
read of the loss, so a GPU has finished) divided by its steps, as the median of all passes after the first, which warms
up; making the batches is included. On the same device and in the dtype of the step's products (float32 on a CPU,
bfloat16 on a GPU) the script measures the best rate of the three products of the step in their shapes, of a large
square product, and the bandwidth of a large copy, counting reads and writes.

Counted per step, with B users, C interactions and N items of dimension `dim` (for mf N is the number of negatives, for
elsa all items):
- flop: the scores (B, dim) x (dim, N) and the gradients of both sides, 2 B N dim each; the sums over the histories,
  forward and backward, 2 C dim each.
- bytes, a lower bound: both operands and the result of the three products once each; for Adam, which updates whole
  tables (users and items of mf, items of elsa), the float32 gradient written, then read with values and both moments,
  and these three written: 8 times the tables.
Not counted: softmax, norms, gathered rows, dense histories and the arithmetic of Adam. The ceilings are therefore low,
and the ratio of step_ms to the larger of them is an upper bound.

    python scripts/bench_step.py --embedder mf --device cuda --users 100000 --items 50000 --dim 256 --batch 1024 --json
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from engine.embedders.elsa import Elsa
from engine.embedders.mf import MF
from engine.embedders.training.device import torch_device
from engine.errors import NearfieldError
from engine.fitting.fit import fit
from engine.values.ids import IdMap
from engine.values.interactions import Interactions

FLOAT = 4  # bytes
SQUARE = {"cpu": 2048, "cuda": 8192}  # rows of the large product
COPIED = {"cpu": 2**28, "cuda": 2**30}  # bytes, much more than the caches
REPEATS, CALLS = (
    5,
    {"cpu": 1, "cuda": 20},
)  # fastest of REPEATS runs of CALLS calls, which fill a GPU's queue


def main() -> None:
    args = _arguments()
    try:
        figures = measure(args)
    except NearfieldError as error:
        raise SystemExit(f"bench_step: {error}") from None
    if args.json:
        print(json.dumps(figures), flush=True)
    else:
        print("\n".join(f"{name:>22}  {value}" for name, value in figures.items()), flush=True)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """The time of a step, its operations and bytes, and the ceilings of the device."""
    device, world = torch_device(args.device), generated(args.users, args.items, args.cells, args.seed)
    seconds: list[float] = []
    space = fit(
        _embedder(args), world, seed=args.seed, device=args.device, report=lambda *report: seconds.append(report[2])
    )
    n_steps = -(-args.users // args.batch)
    step_ms = 1e3 * float(np.median(seconds[1:])) / n_steps
    is_mf = args.embedder == "mf"
    n_items = min(args.negatives, args.items) if is_mf else args.items
    n_rows = args.items + (args.users if is_mf else 0)  # of the tables
    users, cells, dim = args.users / n_steps, world.matrix.nnz / n_steps, space.dim  # mean per step
    kind = torch.bfloat16 if device.type == "cuda" else torch.float32
    flop = 6 * users * n_items * dim + 4 * cells * dim
    product_bytes = 3 * kind.itemsize * (users * n_items + users * dim + n_items * dim)
    n_bytes = product_bytes + 8 * FLOAT * n_rows * dim
    own, square = product_rates(min(args.batch, args.users), n_items, dim, kind, device)
    copied = copy_rate(device)
    arithmetic_ms, bandwidth_ms = 1e3 * flop / max(own, square), 1e3 * n_bytes / copied
    return {
        "embedder": args.embedder,
        "device": args.device,
        "threads": torch.get_num_threads(),
        "users": args.users,
        "items": args.items,
        "cells": world.matrix.nnz,
        "dim": dim,
        "batch": args.batch,
        "negatives": n_items if is_mf else None,
        "step_ms": round(step_ms, 4),
        "flop": round(flop),
        "bytes": round(n_bytes),
        "own_products_gflop_s": round(own / 1e9, 2),
        "square_product_gflop_s": round(square / 1e9, 2),
        "copy_gb_s": round(copied / 1e9, 2),
        "arithmetic_ceiling_ms": arithmetic_ms,
        "bandwidth_ceiling_ms": bandwidth_ms,
        "ratio_to_ceiling": round(step_ms / max(arithmetic_ms, bandwidth_ms), 3),
    }


def generated(n_users: int, n_items: int, n_cells: int, seed: int) -> Interactions:
    """About `n_cells` items per user, at least one, drawn with popularity proportional to 1 / rank."""
    draw = np.random.default_rng(seed)
    popularity = 1 / np.arange(1, n_items + 1)
    columns = draw.choice(n_items, (n_users, n_cells), p=popularity / popularity.sum())
    where = (np.repeat(np.arange(n_users), n_cells), columns.ravel())
    matrix = sp.csr_matrix((np.ones(columns.size, np.float32), where), shape=(n_users, n_items))
    matrix.data[:] = 1  # duplicate draws count once
    matrix.sort_indices()
    users, items = (IdMap(str(row) for row in range(n)) for n in matrix.shape)
    return Interactions(users, items, matrix)


def product_rates(users: int, items: int, dim: int, kind: torch.dtype, device: torch.device) -> tuple[float, float]:
    """Flop per second of the best of the step's three products, and of a large square product."""
    side = SQUARE[device.type]
    shapes = [(users, dim, items), (users, items, dim), (items, users, dim)]
    own, square = ([_product_rate(each, kind, device) for each in group] for group in (shapes, [(side, side, side)]))
    return max(own), max(square)


def _product_rate(shape: tuple[int, int, int], kind: torch.dtype, device: torch.device) -> float:
    rows, inner, columns = shape
    left = torch.randn(rows, inner, device=device).to(kind)
    right = torch.randn(inner, columns, device=device).to(kind)
    out = torch.empty(rows, columns, dtype=kind, device=device)
    return 2 * rows * inner * columns / _seconds(lambda: torch.mm(left, right, out=out), device)


def copy_rate(device: torch.device) -> float:
    """Bytes read and written per second by a copy on the device."""
    source = torch.ones(COPIED[device.type], dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    return 2 * len(source) / _seconds(lambda: target.copy_(source), device)


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call in the fastest run, after a warm-up run."""
    seconds = []
    for _ in range(1 + REPEATS):
        _finish(device)
        started = time.perf_counter()
        for _ in range(CALLS[device.type]):
            call()
        _finish(device)
        seconds.append((time.perf_counter() - started) / CALLS[device.type])
    return max(min(seconds[1:]), 1e-9)


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _embedder(args: argparse.Namespace) -> MF | Elsa:
    if args.embedder == "elsa":
        return Elsa(dim=args.dim, epochs=args.passes, batch=args.batch)
    return MF(dim=args.dim, epochs=args.passes, batch=args.batch, negatives=args.negatives)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embedder", choices=("mf", "elsa"), default="mf")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--cells", type=int, default=30, help="items drawn per user; duplicates count once")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--batch", type=int, default=512, help="users per step")
    parser.add_argument("--negatives", type=int, default=MF.negatives, help="of mf; elsa scores all items")
    parser.add_argument("--passes", type=int, default=6, help="epochs; the first is not counted")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON line")
    args = parser.parse_args()
    if args.passes < 2 or min(args.users, args.items, args.cells, args.batch) < 1:
        parser.error("expected at least 2 passes, and at least 1 for users, items, cells and batch")
    return args


if __name__ == "__main__":
    main()
