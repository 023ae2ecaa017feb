"""Interpolation: vectors between two vectors."""

from __future__ import annotations

import numpy as np

from engine.errors import InputError
from engine.values.vectors import Matrix


def interpolate(start: Matrix, end: Matrix, steps: int) -> Matrix:
    """(steps, dim) vectors on the straight line from `start` to `end`, both (dim,) and included."""
    if steps < 2:
        raise InputError(f"expected at least 2 steps, got {steps}", loc=("steps",))
    share = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
    return np.asarray((1 - share) * start + share * end, dtype=np.float32)
