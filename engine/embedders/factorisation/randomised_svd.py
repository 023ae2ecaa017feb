"""svd: the truncated SVD of a sparse matrix by randomised subspace iteration (Halko et al. 2011) with dynamic shifts.

Each iteration takes A'A - shift for A'A, with a shift that surely is below the eigenvalues sought (Feng et al. 2024,
"Faster randomized SVD with dynamic shifts"): what lies below falls off faster, so one iteration less does as well.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch

from engine.values.vectors import Matrix

WELL_CONDITIONED = 0.01  # smallest to largest pivot; the error of Cholesky QR is float32's times its inverse squared
INVERSE_STEPS = 4  # of inverse iteration towards the smallest singular value of a triangle


def truncated(
    matrix: sp.csr_matrix, dim: int, width: int, iterations: int, seed: int, device: torch.device
) -> tuple[Matrix, npt.NDArray[np.float32]]:
    """Right singular vectors (n_columns, dim) and squared singular values (dim,), largest first.

    `width` columns, at least `dim`, are iterated: what is beyond `dim` makes the last ones of it exact.
    """
    forward, backward = sparse_tensor(matrix, device), sparse_tensor(matrix.T.tocsr(), device)
    generator = torch.Generator().manual_seed(seed)
    basis = torch.randn(matrix.shape[1], width, generator=generator).to(device)
    basis, shift = _orthonormal(backward @ (forward @ basis))[0], 0.0
    for _ in range(iterations):
        image = backward @ (forward @ basis)
        basis, triangle = _orthonormal(image.sub_(basis, alpha=shift) if shift else image)
        shift = max(shift, (shift + _smallest(triangle)) / 2)
    return _ritz(basis, forward @ basis, dim)


def sparse_tensor(matrix: sp.csr_matrix, device: torch.device) -> torch.Tensor:
    return torch.sparse_csr_tensor(
        torch.from_numpy(matrix.indptr.astype(np.int64)),
        torch.from_numpy(matrix.indices.astype(np.int64)),
        torch.from_numpy(matrix.data.astype(np.float32)),
        size=matrix.shape,
        check_invariants=True,
        device=device,
    )


def _ritz(basis: torch.Tensor, image: torch.Tensor, dim: int) -> tuple[Matrix, npt.NDArray[np.float32]]:
    """The best of the space of `basis`, orthonormal but for rounding, which is taken out here; `image` is A basis."""
    lower = torch.linalg.cholesky(basis.T @ basis).double()
    gram = (image.T @ image).double()  # width x width: cheap and exact enough
    half = torch.linalg.solve_triangular(lower, gram, upper=False)
    values, rotation = torch.linalg.eigh(torch.linalg.solve_triangular(lower.T, half, upper=True, left=False))
    order = torch.argsort(values, descending=True)[:dim]
    rotation = torch.linalg.solve_triangular(lower.T, rotation[:, order], upper=True)
    right = basis @ rotation.to(basis.dtype)
    return right.cpu().numpy(), values[order].clamp_min(0).to(torch.float32).cpu().numpy()


def _orthonormal(basis: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Q and R of QR: by Cholesky, three times as fast as Householder's, where it is accurate."""
    lower, failed = torch.linalg.cholesky_ex(basis.T @ basis)
    pivots = torch.diagonal(lower)
    if not failed and bool(pivots.min() > WELL_CONDITIONED * pivots.max()):
        return torch.linalg.solve_triangular(lower.T, basis, upper=True, left=False), lower.T
    made, triangle = torch.linalg.qr(basis)
    return made, triangle


def _smallest(triangle: torch.Tensor) -> float:
    """The smallest singular value of an upper triangle, from above; 0 where it is singular."""
    vector = torch.ones(len(triangle), 1, dtype=torch.float64, device=triangle.device)
    upper, length = triangle.double(), torch.ones(())
    for _ in range(INVERSE_STEPS):
        vector = torch.linalg.solve_triangular(upper.T, vector, upper=False)
        vector = torch.linalg.solve_triangular(upper, vector, upper=True)
        length = vector.norm()
        vector = vector / length
    smallest = float(length.reciprocal().sqrt())
    return smallest if np.isfinite(smallest) else 0.0
