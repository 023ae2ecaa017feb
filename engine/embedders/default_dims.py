"""How many dimensions a model has when nobody says."""

from __future__ import annotations

import math

LEAST, MOST = 128, 1024
SPHERE = 128  # of the mf part of a blend
LARGEST = 2**28  # floats in the factors of a default width


def default_dim(n_items: int) -> int:
    """A power of two under n_items / 36, within 128 to 1024, halved while the factors would pass 1 GiB."""
    dim = min(max(2 ** math.floor(math.log2(max(n_items, 1) / 36)), LEAST), MOST)
    while dim > LEAST and dim * n_items > LARGEST:
        dim //= 2
    return int(dim)
