"""The truncated SVD of the degree-normalised interactions: A = D_U^-a R D_I^-b ~ U S V'.

The closed-form models are made from it, and the models that learn by gradient descent start from it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch

from engine.embedders.factorisation.randomised_svd import randomised_svd
from engine.embedders.factorisation.svd_cache import cached_svd
from engine.values.vectors import Matrix, normalise_rows

NOISE_SHARE = 1e-6  # singular values below this share of the first are noise of the randomised SVD
OVERSAMPLING = 64
MIN_WIDTH = 512  # columns of the randomised SVD; a flat spectrum needs them (electronics, dim 128: .0855 -> .0915)
ITERATIONS = 2  # of the SVD after its first pass; with dynamic shifts 2 are as good as 3 without (gowalla)
START_RIDGE = 0.25  # share of the dimensions whose eigenvalue is the ridge of the initial vectors

Degrees = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TruncatedSVD:
    """Right singular vectors and squared singular values, largest first, all above the noise of the SVD."""

    right_vectors: Matrix  # (n_items, dim) float32
    eigenvalues: npt.NDArray[np.float32]  # S^2, (dim,)
    item_degrees: Degrees  # (n_items,), 1 for an item without interactions, whose row of `right_vectors` is zero

    def truncate(self, dim: int) -> TruncatedSVD:
        """The first `dim` dimensions, or all if there are fewer."""
        return TruncatedSVD(self.right_vectors[:, :dim], self.eigenvalues[:dim], self.item_degrees)

    def ridge_filter(self, share: float) -> npt.NDArray[np.float32]:
        """e / (e + l) for every eigenvalue e, the filter of ridge regression; l is the eigenvalue at `share` of dim."""
        level = self.eigenvalues[min(int(share * len(self.eigenvalues)), len(self.eigenvalues) - 1)]
        return np.asarray(self.eigenvalues / (self.eigenvalues + level), dtype=np.float32)


def normalised_svd(
    matrix: sp.csr_matrix,
    dim: int,
    *,
    user_exponent: float,
    item_exponent: float,
    seed: int,
    device: torch.device,
    iterations: int = ITERATIONS,
) -> TruncatedSVD:
    """At most `dim` dimensions, fewer where the data has fewer; from the cache inside `svd_cache()`."""
    key = (user_exponent, item_exponent, seed, str(device), iterations)
    return cached_svd(
        matrix, key, dim, lambda: _factorise(matrix, dim, user_exponent, item_exponent, seed, device, iterations)
    )


def _factorise(
    matrix: sp.csr_matrix,
    dim: int,
    user_exponent: float,
    item_exponent: float,
    seed: int,
    device: torch.device,
    iterations: int,
) -> TruncatedSVD:
    user_degrees, item_degrees = degrees(matrix, 1), degrees(matrix, 0)
    scaled = sp.csr_matrix(
        sp.diags(user_degrees**-user_exponent) @ matrix @ sp.diags(item_degrees**-item_exponent), dtype=np.float32
    )
    width = min(max(dim + OVERSAMPLING, MIN_WIDTH), *matrix.shape)
    right, values = randomised_svd(scaled, min(dim, width), width, iterations, seed, device)
    kept = values > NOISE_SHARE**2 * values[0]
    return TruncatedSVD(np.ascontiguousarray(right[:, kept]), values[kept], item_degrees)


def initial_item_vectors(
    matrix: sp.csr_matrix, dim: int, *, exponent: float, seed: int, device: torch.device
) -> Matrix:
    """Item vectors to start training from, (n_items, at most dim), unit length: the SVD times its filter's root."""
    svd = normalised_svd(matrix, dim, user_exponent=exponent, item_exponent=exponent, seed=seed, device=device)
    return normalise_rows(svd.right_vectors * np.sqrt(svd.ridge_filter(START_RIDGE)))


def degrees(matrix: sp.csr_matrix, axis: int) -> Degrees:
    """Sums over `axis`, (n,) float64, with 1 in place of 0."""
    sums = np.asarray(matrix.sum(axis=axis), dtype=np.float64).ravel()
    return np.where(sums > 0, sums, 1.0)
