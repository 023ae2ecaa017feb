"""Significance of metrics: bootstrap intervals of means over users, and a paired test of two models."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

RESAMPLES = 1000
SIGN_FLIPS = 4000
CHUNK_FLOATS = 2**24

PerUser = npt.NDArray[np.float64]


def bootstrap_interval(values: PerUser, seed: int = 0) -> list[float]:
    """95% bootstrap interval of the mean over users."""
    if len(values) == 0:
        return [0.0, 0.0]
    draw = np.random.default_rng(seed)
    means = [values[draw.integers(0, len(values), len(values))].mean() for _ in range(RESAMPLES)]
    return [rounded(bound) for bound in np.percentile(means, [2.5, 97.5])]


def paired_test(first: PerUser, second: PerUser, seed: int = 0) -> dict[str, Any]:
    """second - first over the same users: mean, 95% interval, two-sided p of a randomisation test (Fisher 1935).

    Under the null hypothesis each user's difference has either sign with equal probability; p is the share of random
    signs whose mean is at least as far from 0, and at least 1 / (SIGN_FLIPS + 1).
    """
    differences = second - first
    if len(differences) == 0:
        return {"difference": 0.0, "interval": [0.0, 0.0], "p": 1.0}
    draw = np.random.default_rng(seed)
    observed, nonzero = abs(differences.sum()), differences[differences != 0]
    chunk = max(1, CHUNK_FLOATS // max(1, len(nonzero)))
    extreme = 0
    for start in range(0, SIGN_FLIPS, chunk):
        signs = draw.integers(0, 2, (min(chunk, SIGN_FLIPS - start), len(nonzero)), dtype=np.int8)
        sums = 2 * (signs.astype(np.float32) @ nonzero) - nonzero.sum()
        extreme += int((np.abs(sums) >= observed * (1 - 1e-6)).sum())
    return {
        "difference": rounded(differences.mean()),
        "interval": bootstrap_interval(differences, seed),
        "p": rounded((extreme + 1) / (SIGN_FLIPS + 1)),
    }


def rounded(value: float | np.floating) -> float:
    """A metric as it is stored and shown: five decimals."""
    return round(float(value), 5)
