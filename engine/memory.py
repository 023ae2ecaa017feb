"""Whether there is memory to learn in, asked before anything is learnt: an estimate against what the machine has free.

The estimate counts the large arrays that a fit holds at once; measured peaks are within a third of it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import psutil

from engine.embedders.width import default_dim
from engine.errors import InputError
from engine.interactions import Interactions
from engine.space import Embedder

FLOAT = 4
SPARSE = 3 * 12  # bytes of a cell: both orientations as float32 and int64 tensors, and the one it came from
NARROWEST, OVERSAMPLING = 512, 64  # of the randomised SVD
ADAM = 4  # a table, its gradient and two moments
KEPT_FREE = 0.9  # share of what is free that a fit may take
TABLES = {"mf": 1, "elsa": 1, "multvae": 2, "item2vec": 2}  # (n_items, dim) each, trained; mf has one of users too
DENSE_BATCHES = {"elsa": 6, "multvae": 6}  # (batch, n_items) each


def estimate(embedder: Embedder, shape: tuple[int, int], n_cells: int) -> int:
    """Bytes that a fit needs beside the (n_users, n_items) interactions themselves."""
    made: Any = embedder
    n_users, n_items = shape
    dim = _dim(made, n_items)
    factors = _factors(dim, n_users, n_items)
    vectors = FLOAT * (n_users + n_items) * dim
    if embedder.name == "ials":
        factors = 3 * vectors
    n_rows = TABLES.get(embedder.name, 0) * n_items + (n_users if embedder.name == "mf" else 0)
    trained = FLOAT * ADAM * n_rows * dim
    batches = FLOAT * DENSE_BATCHES.get(embedder.name, 0) * int(getattr(made, "batch", 0)) * n_items
    return int(max(factors, trained + batches) + 2 * vectors + SPARSE * n_cells)


def check_memory(embedder: Embedder, interactions: Interactions, device: str = "cpu") -> None:
    """InputError naming the largest dim that fits, where the machine has not enough free. A GPU is not looked at."""
    if device != "cpu":
        return
    shape, n_cells = interactions.matrix.shape, interactions.matrix.nnz
    free = int(KEPT_FREE * psutil.virtual_memory().available)
    needed = estimate(embedder, shape, n_cells)
    if needed <= free:
        return
    fits = _largest(embedder, shape, n_cells, free)
    advice = f"dim {fits} would fit" if fits else "no dim would fit; give it fewer events or a larger machine"
    raise InputError(
        f"{embedder.name} needs about {_gb(needed)} for {shape[0]:,} users and {shape[1]:,} items, "
        f"{_gb(free)} are free; {advice}",
        loc=("set", "dim"),
    )


def _largest(embedder: Embedder, shape: tuple[int, int], n_cells: int, free: int) -> int:
    """The largest dim, a multiple of 8, that fits; 0 where none does."""
    low, high = 0, max(8, _dim(embedder, shape[1]))
    while high - low > 8:
        middle = (low + high) // 2
        made = replace(embedder, dim=middle)  # type: ignore[type-var]
        low, high = (middle, high) if estimate(made, shape, n_cells) <= free else (low, middle)
    return low // 8 * 8


def _factors(dim: int, n_users: int, n_items: int) -> int:
    """The randomised SVD: a basis of items three times over, its image of users, and its small square."""
    width = min(max(dim + OVERSAMPLING, NARROWEST), n_users, n_items)
    return FLOAT * width * (3 * n_items + n_users) + 3 * 8 * width**2


def _dim(made: Any, n_items: int) -> int:
    dim = int(made.dim) or default_dim(n_items)
    return dim + max(0, int(getattr(made, "wide", 0)))


def _gb(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:.1f} GiB"
