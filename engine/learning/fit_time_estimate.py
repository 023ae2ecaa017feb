"""Estimates how long a `spectral` model takes to fit on this machine, from the speed of two small matrix products.

The operations of the randomised SVD are counted and divided by the measured speed of sparse and dense products.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import scipy.sparse as sp
import torch

from engine.embedders.factorisation.normalised_svd import MIN_WIDTH, OVERSAMPLING
from engine.embedders.factorisation.randomised_svd import sparse_tensor
from engine.embedders.spectral import Spectral

PROBE_COLUMNS = 256  # of the timed products; with fewer columns caches distort the result
FOLD_IN_PRODUCTS = 4  # sparse products that equal the fold-in of all users in one thread
EIGEN_PRODUCTS = 20  # products of width^3 that equal the eigendecomposition in double precision


def seconds_of_spectral(matrix: sp.csr_matrix, dims: list[int], device: str = "cpu") -> dict[int, float]:
    """Estimated seconds of a fit for each of `dims`; within a third of the truth on an idle machine."""
    target = torch.device(device)
    sparse = sparse_tensor(matrix, target)
    thin = torch.randn(matrix.shape[1], PROBE_COLUMNS, device=target)
    per_sparse = _time_product(lambda: sparse @ thin, target) / (matrix.nnz * PROBE_COLUMNS)
    square = torch.randn(matrix.shape[1], min(PROBE_COLUMNS, *matrix.shape), device=target)
    per_dense = _time_product(lambda: square.T @ square, target) / (matrix.shape[1] * square.shape[1] ** 2)
    return {dim: _estimate_seconds(matrix, dim, per_sparse, per_dense) for dim in dims}


def _estimate_seconds(matrix: sp.csr_matrix, dim: int, per_sparse: float, per_dense: float) -> float:
    n_users, n_items = matrix.shape
    width = min(max(dim + OVERSAMPLING, MIN_WIDTH), n_users, n_items)
    passes = Spectral.iterations + 1
    sparse = matrix.nnz * ((2 * passes + 1) * width + FOLD_IN_PRODUCTS * dim)
    dense = width**2 * ((1.5 * passes + 1) * n_items + n_users) + n_items * width * dim + EIGEN_PRODUCTS * width**3
    return sparse * per_sparse + dense * per_dense


def _time_product(product: Callable[[], torch.Tensor], device: torch.device) -> float:
    """Seconds of the faster of two runs, after one warm-up run."""
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        product()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - started)
    return max(min(seconds[1:]), 1e-9)
