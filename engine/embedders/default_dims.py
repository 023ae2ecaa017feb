"""Default dimensions of a model, by the number of items."""

from __future__ import annotations

import math

MIN_DIM, MAX_DIM = 128, 1024
DEFAULT_SPHERE_DIM = 128  # the mf part of a blend
MAX_FACTOR_FLOATS = 2**28  # floats in the item vectors of a default dimension: 1 GiB


def default_dim(n_items: int) -> int:
    """The largest power of two up to n_items / 36, from 128 to 1024, halved while item vectors would exceed 1 GiB."""
    dim = min(max(2 ** math.floor(math.log2(max(n_items, 1) / 36)), MIN_DIM), MAX_DIM)
    while dim > MIN_DIM and dim * n_items > MAX_FACTOR_FLOATS:
        dim //= 2
    return int(dim)
