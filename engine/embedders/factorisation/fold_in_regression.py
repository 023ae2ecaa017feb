"""Fold-in vectors for a learnt user table: item vectors whose weighted sum over a history approximates its user.

W = D_I^-b A' (A A' + l)^-1 U with A = D_U^-1/2 R D_I^-b: ridge regression of the users U on their histories R, solved
by conjugate gradients (Hestenes and Stiefel 1952) in the space of the users, all dimensions at once.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch

from engine.embedders.factorisation.normalised_svd import degrees
from engine.embedders.factorisation.randomised_svd import sparse_tensor
from engine.values.vectors import Matrix

EXPONENT = 0.25  # b
RIDGE = 0.02  # l; on gowalla the cosine to the learnt vector is .997 for training users, .95 for held-out users
MAX_STEPS = 30
TOLERANCE = 1e-3  # of the norm of the first residual


def fold_in_inputs(users: Matrix, matrix: sp.csr_matrix, device: torch.device) -> Matrix:
    """(n_items, dim) float32: history @ this has the direction of the user's row in `users` (n_users, dim).

    Its length differs.
    """
    item_scale = degrees(matrix, 0) ** -EXPONENT
    scaled = sp.diags(degrees(matrix, 1) ** -0.5) @ matrix @ sp.diags(item_scale)
    cells = sp.csr_matrix(scaled, dtype=np.float32)
    forward, backward = sparse_tensor(cells, device), sparse_tensor(cells.T.tocsr(), device)
    solved = backward @ _solve(forward, backward, torch.from_numpy(users).to(device))
    return np.asarray(solved.cpu().numpy() * item_scale[:, None], dtype=np.float32)


def _solve(forward: torch.Tensor, backward: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """(A A' + l)^-1 right, one system per column."""
    solution, residual, direction = torch.zeros_like(right), right.clone(), right.clone()
    squares = residual.square().sum(dim=0)
    target = TOLERANCE**2 * squares.sum()
    for _ in range(MAX_STEPS):
        image = (forward @ (backward @ direction)).add_(direction, alpha=RIDGE)
        step = squares / (direction * image).sum(dim=0).clamp_min(1e-20)
        solution.addcmul_(direction, step)
        residual.addcmul_(image, step, value=-1)
        previous, squares = squares, residual.square().sum(dim=0)
        if squares.sum() <= target:
            break
        direction = residual.addcmul(direction, squares / previous.clamp_min(1e-20))
    return solution
