"""ials: implicit-feedback alternating least squares (Hu et al. 2008; Rendle et al. 2021, "Revisiting iALS").

Minimises sum_observed w (1 - u.v)^2 + alpha0 sum_all (u.v)^2 + frequency-scaled L2. Each half step solves one
(dim, dim) system per row, in padded batches on the device. The last step is on users, so that users agree with fold_in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.sparse as sp
import torch

from engine.embedders.device import pick
from engine.errors import InputError, TrainingFailed
from engine.fold_in import LeastSquaresFoldIn, padded
from engine.interactions import Interactions
from engine.space import LatentSpace
from engine.vectors import Vectors


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
        where = pick(device)
        cells = interactions.matrix
        by_item = cells.T.tocsr()
        generator = torch.Generator().manual_seed(seed)
        scale = self.init_scale / self.dim**0.5
        items = (torch.randn(cells.shape[1], self.dim, generator=generator) * scale).to(where)
        for _ in range(self.iterations):
            users = self._half_step(cells, items)
            items = self._half_step(by_item, users)
            if not torch.isfinite(items).all():
                raise TrainingFailed("ials diverged: factors are not finite; raise reg or lower the event weights")
        matrix = items.cpu().numpy()
        gram = (self.unobserved * (items.T @ items)).cpu().numpy()
        fold_in = LeastSquaresFoldIn(matrix, gram, self.reg, self.nu, self.unobserved)
        users_last = Vectors(interactions.users, fold_in.vectors(cells))
        return LatentSpace(Vectors(interactions.items, matrix), users_last, "dot", fold_in)

    def _half_step(self, cells: sp.csr_matrix, other: torch.Tensor) -> torch.Tensor:
        """The rows of `cells` solved against the fixed side `other`, (n_rows, dim)."""
        gram = self.unobserved * (other.T @ other)
        eye = torch.eye(self.dim, device=other.device)
        out = torch.zeros(cells.shape[0], self.dim, device=other.device)
        for rows, columns, weights in padded(cells, self.dim):
            vectors = other[torch.from_numpy(columns).to(other.device)]
            weight = torch.from_numpy(weights).to(other.device)[:, :, None]
            weighted = vectors * weight
            n_cells = (weight[:, :, 0] > 0).sum(dim=1).float()
            reg = self.reg * (n_cells + self.unobserved * len(other)) ** self.nu
            left = torch.baddbmm(gram.expand(len(rows), -1, -1), weighted.transpose(1, 2), vectors)
            left += reg[:, None, None] * eye
            factor = torch.linalg.cholesky(left)
            solved = torch.cholesky_solve(weighted.sum(dim=1)[:, :, None], factor)[:, :, 0]
            out[torch.from_numpy(np.ascontiguousarray(rows)).to(other.device)] = solved
        return out
