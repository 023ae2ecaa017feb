"""ials: implicit-feedback alternating least squares (Hu et al. 2008; Rendle et al. 2021, "Revisiting iALS").

Minimises sum_observed w (1 - u.v)^2 + alpha0 sum_all (u.v)^2 + frequency-scaled L2, alpha0 and the regulariser in units
of the mean w: the unit of the event weights changes nothing. Each half step takes a few steps
of conjugate gradients per row (Takacs et al. 2011), from where the row was. The last step is on users and exact, so
that users agree with fold_in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import scipy.sparse as sp
import torch
from threadpoolctl import threadpool_limits

from engine.embedders.training.device import pick
from engine.errors import InputError, TrainingFailed
from engine.latent_space.fold_in import LeastSquaresFoldIn
from engine.latent_space.space import Abilities, LatentSpace
from engine.values.interactions import Interactions
from engine.values.vectors import Vectors

REG = 2.0  # of a row without cells; on validation .003 for all data was 8% worse on gowalla, 3% better on electronics
MOST_REG = 0.1  # reached below 200 users and items: beyond it nearly nothing is left of either (recall@5 .60 for .31)
STEPS = 3  # of conjugate gradients in a half step; exact ones give the same recall in twelve iterations


class Side(Protocol):
    """The cells of users or of items, ready for half steps."""

    def step(
        self, start: torch.Tensor, fixed: torch.Tensor, *, values: torch.Tensor, reg: torch.Tensor, steps: int
    ) -> torch.Tensor: ...


@dataclass(frozen=True)
class IALS:
    name: ClassVar[str] = "ials"
    abilities: ClassVar[Abilities] = Abilities("dot", "least_squares")

    dim: int = 128
    # lambda of Rendle et al., times (cells + alpha0 n)^nu; 0: REG / (alpha0 n), by the size of the data, and not above
    # MOST_REG
    reg: float = 0.0
    nu: float = 1.0  # 1 scales the regulariser with frequency, 0 does not
    unobserved: float = 0.1  # alpha0: weight of every pair, seen or not, of that of a mean cell
    iterations: int = 12  # validation recall is flat from about 10
    init_scale: float = 0.1

    def __post_init__(self) -> None:
        if self.dim < 1 or self.iterations < 1:
            raise InputError("ials: dim and iterations are at least 1", loc=("dim",))
        if self.reg < 0 or self.unobserved <= 0:
            raise InputError("ials: unobserved is above 0 and reg not below 0", loc=("reg",))

    def fit(self, interactions: Interactions, *, seed: int = 0, device: str = "cpu") -> LatentSpace:
        """LatentSpace with metric dot."""
        where, cells = pick(device), interactions.matrix
        by_item = cells.T.tocsr()
        of_users, of_items = (self._side(side, where) for side in (cells, by_item))
        unit = float(cells.data.mean(dtype=np.float64))
        usual = REG / (self.unobserved * math.sqrt(cells.shape[0] * cells.shape[1])) ** self.nu
        reg = unit * (self.reg or (min(usual, MOST_REG) if self.nu == 1 else usual))
        user_reg, item_reg = (self._regularisers(side, reg).to(where) for side in (cells, by_item))
        generator = torch.Generator().manual_seed(seed)
        scale = self.init_scale / self.dim**0.5
        items = (torch.randn(cells.shape[1], self.dim, generator=generator) * scale).to(where)
        users = torch.zeros(cells.shape[0], self.dim, device=where)
        for _ in range(self.iterations):
            values, items, users = _diagonal(items, users, unit * self.unobserved)
            users = of_users.step(users, items, values=values, reg=user_reg, steps=STEPS)
            values, users, items = _diagonal(users, items, unit * self.unobserved)
            items = of_items.step(items, users, values=values, reg=item_reg, steps=STEPS)
            _check_finite(items)
        matrix = items.cpu().numpy()
        gram = (unit * self.unobserved * (items.T @ items)).cpu().numpy()
        fold_in = LeastSquaresFoldIn(matrix, gram, reg, self.nu, self.unobserved)
        with threadpool_limits(1, user_api="blas"):  # thousands of small systems: threads wait for each other in each
            users_last = Vectors(interactions.users, fold_in.vectors(cells))
        return LatentSpace(Vectors(interactions.items, matrix), users_last, "dot", fold_in)

    def _side(self, cells: sp.csr_matrix, device: torch.device) -> Side:
        if device.type == "cpu":
            from engine.embedders.factorisation.als_cpu import (
                Rows,  # numba and the compiled loops: for those who fit it
            )

            return Rows(cells, torch.get_num_threads())
        from engine.embedders.factorisation.als_gpu import Batches

        return Batches(cells, self.dim, device)

    def _regularisers(self, cells: sp.csr_matrix, reg: float) -> torch.Tensor:
        """(n_rows,) float32"""
        weights = reg * (np.diff(cells.indptr) + self.unobserved * cells.shape[1]) ** self.nu
        return torch.from_numpy(weights.astype(np.float32))


def _diagonal(
    fixed: torch.Tensor, other: torch.Tensor, unobserved: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The eigenvalues of the Gram matrix of `fixed`, and both sides in its basis: there it is diagonal.

    A step of conjugate gradients then reads a row's cells and no (dim, dim) matrix. Scores do not depend on the
    basis, so the sides are never turned back.
    """
    gram = (unobserved * (fixed.T @ fixed)).double()  # float32 does not converge where ranks are missing
    _check_finite(gram)
    with _one_thread():
        values, basis = torch.linalg.eigh(gram)
    turn = basis.to(fixed.dtype)
    return values.clamp_min(0).to(fixed.dtype), fixed @ turn, other @ turn


def _check_finite(factors: torch.Tensor) -> None:
    if not torch.isfinite(factors.sum()):
        raise TrainingFailed("ials diverged: factors are not finite; raise reg or lower the event weights")


@contextmanager
def _one_thread() -> Iterator[None]:
    """A small eigenproblem is thousands of tiny parallel loops: threads take longer, ten times so on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
