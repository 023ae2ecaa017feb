"""The memory check before a fit: an estimate of the bytes it needs against the free memory of the device.

The estimate counts the large arrays that a fit holds at the same time; measured peaks on CPUs are within a third of it.
Peaks on GPUs have not been measured; there the final vectors are in the memory of the host.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import psutil

from engine.embedders.default_dims import default_dim
from engine.embedders.training.chunks import users_per_chunk
from engine.errors import InputError
from engine.latent_space.space import Embedder
from engine.values.interactions import Interactions

FLOAT_BYTES = 4
# both orientations as float32 and int64 tensors, and the matrix they are made from
SPARSE_CELL_BYTES = 3 * 12
MIN_SVD_WIDTH, OVERSAMPLING = 512, 64  # of the randomised SVD
ADAM_COPIES = 4  # the table, its gradient and two moments
USABLE_SHARE = 0.9  # share of the free memory that a fit may use
TRAINED_ITEM_TABLES = {
    "mf": 1,
    "elsa": 1,
    "multvae": 2,
    "item2vec": 2,
}  # (n_items, dim) each; mf has a user table as well
DENSE_BATCHES = {"elsa": 6, "multvae": 6}  # (users per chunk, n_items) each


def estimate_bytes(embedder: Embedder, shape: tuple[int, int], n_cells: int) -> int:
    """Bytes that a fit needs besides the interactions, whose shape is (n_users, n_items)."""
    settings: Any = embedder
    parts = _parts(settings, shape, n_cells)
    working = max(_working_bytes(name, dim, int(getattr(settings, "batch", 0)), shape) for name, dim in parts)
    vectors = FLOAT_BYTES * sum(shape) * sum(dim for _, dim in parts)
    return int(working + 2 * vectors + SPARSE_CELL_BYTES * n_cells)


def _parts(made: Any, shape: tuple[int, int], n_cells: int) -> list[tuple[str, int]]:
    """The parts that are fitted one after the other, with their dimensions."""
    dim = int(made.dim) or default_dim(shape[1])
    if made.name != "blend":
        return [(made.name, dim)]
    parts = [("spectral", dim), ("ease", made.wide_dim(dim)), ("mf", made.sphere_dim(shape, n_cells))]
    return [(name, width) for name, width in parts if width]


def _working_bytes(name: str, dim: int, batch: int, shape: tuple[int, int]) -> int:
    """Bytes that one part needs besides its vectors while it is fitted."""
    n_users, n_items = shape
    if name == "ials":
        return 3 * FLOAT_BYTES * (n_users + n_items) * dim
    n_rows = TRAINED_ITEM_TABLES.get(name, 0) * n_items + (n_users if name == "mf" else 0)
    trained = FLOAT_BYTES * ADAM_COPIES * n_rows * dim
    batches = FLOAT_BYTES * DENSE_BATCHES.get(name, 0) * min(batch, users_per_chunk(n_items)) * n_items
    return max(_svd_bytes(dim, n_users, n_items), trained + batches)


def check_memory(
    embedder: Embedder, interactions: Interactions, device: str = "cpu", *, free: int | None = None
) -> None:
    """Raise InputError, with the largest dim that fits, if the device has too little free memory.

    `free` are the free bytes, measured by default.
    """
    shape, n_cells = interactions.matrix.shape, interactions.matrix.nnz
    left = int(USABLE_SHARE * (_free_bytes(device) if free is None else free))
    needed = estimate_bytes(embedder, shape, n_cells)
    if needed <= left:
        return
    fits = _largest_dim(embedder, shape, n_cells, left)
    where, other = ("", "a larger machine") if device == "cpu" else (f" on {device}", "a larger GPU, or --device cpu")
    advice = f"dim {fits} would fit" if fits else f"no dim would fit; use fewer events or {other}"
    raise InputError(
        f"{embedder.name} needs about {_gb(needed)} for {shape[0]:,} users and {shape[1]:,} items, "
        f"{_gb(left)} are free{where}; {advice}",
        loc=("set", "dim"),
    )


def _free_bytes(device: str) -> int:
    if device == "cpu":
        return int(psutil.virtual_memory().available)
    from engine.embedders.training.device import free_gpu_bytes

    return free_gpu_bytes(device)


def _largest_dim(embedder: Embedder, shape: tuple[int, int], n_cells: int, free: int) -> int:
    """The largest dim that fits, a multiple of 8, to within 1%; 0 if none fits."""
    settings: Any = embedder
    most = max(8, int(settings.dim) or default_dim(shape[1]))
    dim = most // 8 * 8
    while dim > 0 and estimate_bytes(replace(settings, dim=dim), shape, n_cells) > free:
        dim -= max(8, dim // 1000 * 8)  # no bisection: a wide blend may need less, because it has no ease part
    return dim


def _svd_bytes(dim: int, n_users: int, n_items: int) -> int:
    """Bytes of the randomised SVD: three item bases, their image of users, and small square matrices."""
    width = min(max(dim + OVERSAMPLING, MIN_SVD_WIDTH), n_users, n_items)
    return FLOAT_BYTES * width * (3 * n_items + n_users) + 3 * 8 * width**2


def _gb(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:.1f} GiB"
