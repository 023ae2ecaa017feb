"""The truncated SVD of the degree-normalised interactions, which the closed-form models and the warm starts share.

A = D_U^-a R D_I^-b ~ U S V'.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch

from engine.embedders.factorisation.randomised_svd import truncated
from engine.embedders.factorisation.svd_cache import once
from engine.values.vectors import Matrix, normalise_rows

EPSILON = 1e-6  # singular values below this share of the first are noise of the randomised SVD
OVERSAMPLING = 64
NARROWEST = 512  # columns of the randomised SVD; a flat spectrum needs them (electronics, dim 128: .0855 -> .0915)
ITERATIONS = 2  # of the SVD after its first pass; with its shifts they are worth 3 without (gowalla)
START_RIDGE = 0.25  # of the rows that training starts from

Degrees = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Factors:
    """Right singular vectors (n_items, dim) float32 and eigenvalues S^2 (dim,), largest first, all above noise."""

    right: Matrix
    values: npt.NDArray[np.float32]
    item_degrees: Degrees  # (n_items,), 1 for an item nobody has had, whose row of `right` is zero

    def cut(self, dim: int) -> Factors:
        """The first `dim` of them, fewer where there are fewer."""
        return Factors(self.right[:, :dim], self.values[:dim], self.item_degrees)

    def ridge(self, share: float) -> npt.NDArray[np.float32]:
        """e / (e + l) for every eigenvalue e, with l the one at `share` of them: the filter of ridge regression."""
        level = self.values[min(int(share * len(self.values)), len(self.values) - 1)]
        return np.asarray(self.values / (self.values + level), dtype=np.float32)


def factors(
    matrix: sp.csr_matrix,
    dim: int,
    *,
    user_exponent: float,
    item_exponent: float,
    seed: int,
    device: torch.device,
    iterations: int = ITERATIONS,
) -> Factors:
    """At most `dim` factors, fewer where the data has fewer."""
    key = (user_exponent, item_exponent, seed, str(device), iterations)
    return once(matrix, key, dim, lambda: _find(matrix, dim, user_exponent, item_exponent, seed, device, iterations))


def _find(
    matrix: sp.csr_matrix,
    dim: int,
    user_exponent: float,
    item_exponent: float,
    seed: int,
    device: torch.device,
    iterations: int,
) -> Factors:
    user_degrees, item_degrees = degrees(matrix, 1), degrees(matrix, 0)
    scaled = sp.csr_matrix(
        sp.diags(user_degrees**-user_exponent) @ matrix @ sp.diags(item_degrees**-item_exponent), dtype=np.float32
    )
    width = min(max(dim + OVERSAMPLING, NARROWEST), *matrix.shape)
    right, values = truncated(scaled, min(dim, width), width, iterations, seed, device)
    kept = values > EPSILON**2 * values[0]
    return Factors(np.ascontiguousarray(right[:, kept]), values[kept], item_degrees)


def unit_rows(matrix: sp.csr_matrix, dim: int, *, exponent: float, seed: int, device: torch.device) -> Matrix:
    """(n_items, at most dim): the factors with the root of their filter, rows of unit length. A start for training."""
    found = factors(matrix, dim, user_exponent=exponent, item_exponent=exponent, seed=seed, device=device)
    return normalise_rows(found.right * np.sqrt(found.ridge(START_RIDGE)))


def degrees(matrix: sp.csr_matrix, axis: int) -> Degrees:
    """Sums over `axis`, (n,) float64, with 1 in place of 0."""
    sums = np.asarray(matrix.sum(axis=axis), dtype=np.float64).ravel()
    return np.where(sums > 0, sums, 1.0)
