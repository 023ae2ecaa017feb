"""ials: implicit-feedback alternating least squares (Hu et al. 2008; Rendle et al. 2021, "Revisiting iALS").

Minimises sum_observed w (1 - u.v)^2 + alpha0 sum_all (u.v)^2 + frequency-scaled L2. Each half step takes a few steps
of conjugate gradients per row (Takacs et al. 2011), from where the row was, in padded batches on the device. The last
step is on users and exact, so that users agree with fold_in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from engine.embedders.device import pick
from engine.errors import InputError, TrainingFailed
from engine.fold_in import LeastSquaresFoldIn, Padded, padded
from engine.interactions import Interactions
from engine.space import LatentSpace
from engine.vectors import Vectors

STEPS = 3  # of conjugate gradients in a half step; exact ones give the same recall in twelve iterations
SMALLEST = 1e-20
BATCH_FLOATS = 2**20  # of a batch's vectors: every step of the gradients reads them again, from the cache


@dataclass(frozen=True)
class IALS:
    name: ClassVar[str] = "ials"

    dim: int = 128
    reg: float = 0.003  # lambda of Rendle et al.; times (cells + alpha0 n)^nu
    nu: float = 1.0  # 1 scales the regulariser with frequency, 0 does not
    unobserved: float = 0.1  # alpha0: weight of every pair, seen or not
    iterations: int = 12  # validation recall is flat from about 10
    init_scale: float = 0.1

    def __post_init__(self) -> None:
        if self.dim < 1 or self.iterations < 1:
            raise InputError("ials: dim and iterations are at least 1", loc=("dim",))
        if self.reg <= 0 or self.unobserved <= 0:
            raise InputError("ials: reg and unobserved must be above 0, else the systems are singular", loc=("reg",))

    def fit(self, interactions: Interactions, *, seed: int = 0, device: str = "cpu") -> LatentSpace:
        """LatentSpace with metric dot."""
        where, cells = pick(device), interactions.matrix
        sides = [list(padded(side, self.dim, floats=BATCH_FLOATS)) for side in (cells, cells.T.tocsr())]
        generator = torch.Generator().manual_seed(seed)
        scale = self.init_scale / self.dim**0.5
        items = (torch.randn(cells.shape[1], self.dim, generator=generator) * scale).to(where)
        users = torch.zeros(cells.shape[0], self.dim, device=where)
        for _ in range(self.iterations):
            users = self._half_step(sides[0], users, items)
            items = self._half_step(sides[1], items, users)
            if not torch.isfinite(items).all():
                raise TrainingFailed("ials diverged: factors are not finite; raise reg or lower the event weights")
        matrix = items.cpu().numpy()
        gram = (self.unobserved * (items.T @ items)).cpu().numpy()
        fold_in = LeastSquaresFoldIn(matrix, gram, self.reg, self.nu, self.unobserved)
        users_last = Vectors(interactions.users, fold_in.vectors(cells))
        return LatentSpace(Vectors(interactions.items, matrix), users_last, "dot", fold_in)

    def _half_step(self, batches: list[Padded], start: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """The rows of `batches` from `start` towards their optimum against the fixed side `other`, (n_rows, dim).

        In the basis where the Gram matrix is diagonal a step of conjugate gradients reads a row's cells only.
        """
        values, basis = torch.linalg.eigh(self.unobserved * (other.T @ other))
        turned, out = other @ basis, torch.zeros_like(start)
        start = start @ basis
        for rows, columns, weights in batches:
            where = torch.from_numpy(np.ascontiguousarray(rows)).to(other.device)
            weight = torch.from_numpy(weights).to(other.device)
            n_cells = (weight > 0).sum(dim=1)
            reg = self.reg * (n_cells + self.unobserved * len(other)) ** self.nu
            diagonal = values.clamp_min(0) + reg[:, None]
            vectors = turned[torch.from_numpy(columns).to(other.device)]
            out[where] = _solved(vectors, weight, diagonal, start[where])
        return out @ basis.T


def _solved(vectors: torch.Tensor, weight: torch.Tensor, diagonal: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    """x of (diag(diagonal) + V' W V) x = V' w for a batch, by conjugate gradients preconditioned with the diagonal.

    Shapes (n, cells, dim), (n, cells), (n, dim), (n, dim) -> (n, dim).
    """

    def back(values: torch.Tensor) -> torch.Tensor:
        return torch.bmm(values[:, None], vectors)[:, 0]

    def forward(x: torch.Tensor) -> torch.Tensor:
        return torch.bmm(vectors, x[:, :, None])[:, :, 0]

    x = start
    residual = back(weight * (1 - forward(x))) - diagonal * x
    towards = residual / diagonal
    direction, size = towards, (residual * towards).sum(dim=1, keepdim=True)
    for _ in range(STEPS):
        image = back(weight * forward(direction)) + diagonal * direction
        step = size / (direction * image).sum(dim=1, keepdim=True).clamp_min(SMALLEST)
        x, residual = x + step * direction, residual - step * image
        towards = residual / diagonal
        before, size = size, (residual * towards).sum(dim=1, keepdim=True)
        direction = towards + size / before.clamp_min(SMALLEST) * direction
    return x
