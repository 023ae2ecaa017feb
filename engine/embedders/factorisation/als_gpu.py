"""A half step of alternating least squares on a GPU: conjugate gradients for padded batches of rows, in torch.

`als_cpu.py` has the same steps for the CPU, where torch's batched matrix-vector products run at a seventh of the speed
of compiled loops.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch

from engine.latent_space.fold_in import padded

MIN_DIVISOR = 1e-20
BATCH_FLOATS = 2**25  # 128 MiB of vectors in a batch: enough rows to occupy every multiprocessor


class GpuHalfStepSolver:
    """Solves for the rows of one (n_rows, n_columns) matrix; its cells stay on the device as padded batches."""

    def __init__(self, cells: sp.csr_matrix, dim: int, device: torch.device):
        self._batches = [
            tuple(torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in batch)
            for batch in padded(cells, dim, floats=BATCH_FLOATS)
        ]

    def half_step(
        self, start: torch.Tensor, fixed: torch.Tensor, *, values: torch.Tensor, reg: torch.Tensor, steps: int
    ) -> torch.Tensor:
        """As `als_cpu.CpuHalfStepSolver.half_step`."""
        solved = torch.zeros_like(start)
        for rows, columns, weights in self._batches:
            solved[rows] = _conjugate_gradients(fixed[columns], weights, values + reg[rows, None], start[rows], steps)
        return solved


def _conjugate_gradients(
    vectors: torch.Tensor, weight: torch.Tensor, diagonal: torch.Tensor, start: torch.Tensor, steps: int
) -> torch.Tensor:
    """Approximate x of (diag(diagonal) + V' W V) x = V' w for a batch of rows, starting at `start`.

    The preconditioner is the diagonal. Shapes: (n, cells, dim), (n, cells), (n, dim), (n, dim) -> (n, dim).
    """

    def transposed_product(values: torch.Tensor) -> torch.Tensor:
        return torch.bmm(values[:, None], vectors)[:, 0]

    def product(x: torch.Tensor) -> torch.Tensor:
        return torch.bmm(vectors, x[:, :, None])[:, :, 0]

    x = start
    residual = transposed_product(weight * (1 - product(x))) - diagonal * x
    preconditioned = residual / diagonal
    direction, size = preconditioned, (residual * preconditioned).sum(dim=1, keepdim=True)
    for _ in range(steps):
        image = transposed_product(weight * product(direction)) + diagonal * direction
        step = size / (direction * image).sum(dim=1, keepdim=True).clamp_min(MIN_DIVISOR)
        x, residual = x + step * direction, residual - step * image
        preconditioned = residual / diagonal
        previous_size, size = size, (residual * preconditioned).sum(dim=1, keepdim=True)
        direction = preconditioned + size / previous_size.clamp_min(MIN_DIVISOR) * direction
    return x
