"""How far is a training step of `mf` or `elsa` from what the device can do, by its arithmetic and by its memory?

The product's own fit on generated interactions: seconds of a pass as fit reports them (it reads the loss of the pass
first, so a GPU has finished), divided by its steps; the median of the passes after the first, which warms up. Making
the batches is part of a step. In the same run and on the same device, in the type that the step multiplies in (float32
on a CPU, bfloat16 on a GPU): the best rate of the three products of the step, of their very shapes, and of a large
square one, and the bandwidth of a large copy, its reads and writes both counted.

Counted of a step, with B users, C cells and N items in it, `dim` wide (of mf N are the negatives, of elsa all items):
- flop: the scores (B, dim) x (dim, N) and the gradients of both sides, 2 B N dim each; the sums over the histories,
  there and back, 2 C dim each.
- bytes, the least: either side and the result of those three products once each; of Adam, which goes over whole tables
  (users and items of mf, items of elsa) whatever rows were met, the float32 gradient written, then read with values and
  both moments, and these three written: 8 times the tables.
Not counted: softmax, norms, gathered rows, dense histories and Adam's own arithmetic. So the ceilings are low, and the
ratio, step_ms by the larger of the two, is too large rather than too small.

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
COPIED = {"cpu": 2**28, "cuda": 2**30}  # bytes, far more than a cache holds
REPEATS, CALLS = 5, {"cpu": 1, "cuda": 20}  # the quickest of so many turns of so many calls: a GPU's queue is kept full


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
    """One line of figures: the step, what it has to do, and the ceilings of this device."""
    device, world = torch_device(args.device), generated(args.users, args.items, args.cells, args.seed)
    seconds: list[float] = []
    space = fit(
        _embedder(args), world, seed=args.seed, device=args.device, report=lambda *told: seconds.append(told[2])
    )
    n_steps = -(-args.users // args.batch)
    step_ms = 1e3 * float(np.median(seconds[1:])) / n_steps
    is_mf = args.embedder == "mf"
    n_items = min(args.negatives, args.items) if is_mf else args.items
    n_rows = args.items + (args.users if is_mf else 0)  # of the tables
    users, cells, dim = args.users / n_steps, world.matrix.nnz / n_steps, space.dim  # in the mean of the steps
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
    """About `n_cells` items for every user, none with none, drawn by a popularity that falls as 1 / rank."""
    draw = np.random.default_rng(seed)
    popularity = 1 / np.arange(1, n_items + 1)
    columns = draw.choice(n_items, (n_users, n_cells), p=popularity / popularity.sum())
    where = (np.repeat(np.arange(n_users), n_cells), columns.ravel())
    matrix = sp.csr_matrix((np.ones(columns.size, np.float32), where), shape=(n_users, n_items))
    matrix.data[:] = 1  # an item drawn twice counts once
    matrix.sort_indices()
    users, items = (IdMap(str(row) for row in range(n)) for n in matrix.shape)
    return Interactions(users, items, matrix)


def product_rates(users: int, items: int, dim: int, kind: torch.dtype, device: torch.device) -> tuple[float, float]:
    """Flop per second of the best of the step's three products, and of a large square one."""
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
    """Of a call, in the quickest of some turns, after one that warms up."""
    found = []
    for _ in range(1 + REPEATS):
        _finish(device)
        started = time.perf_counter()
        for _ in range(CALLS[device.type]):
            call()
        _finish(device)
        found.append((time.perf_counter() - started) / CALLS[device.type])
    return max(min(found[1:]), 1e-9)


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
    parser.add_argument("--cells", type=int, default=30, help="items drawn for a user; what is drawn twice counts once")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--batch", type=int, default=512, help="users of a step")
    parser.add_argument("--negatives", type=int, default=MF.negatives, help="of mf; elsa scores all items")
    parser.add_argument("--passes", type=int, default=6, help="over the users; the first is not counted")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON line")
    args = parser.parse_args()
    if args.passes < 2 or min(args.users, args.items, args.cells, args.batch) < 1:
        parser.error("expected 2 passes or more, and at least 1 of users, items, cells and batch")
    return args


if __name__ == "__main__":
    main()
