"""ials: implicit-feedback alternating least squares (Hu et al. 2008; Rendle et al. 2021, "Revisiting iALS").

Minimises sum_observed w (1 - u.v)^2 + alpha0 sum_all (u.v)^2 + frequency-scaled L2. alpha0 and the regulariser are in
units of the mean w, so scaling all event weights changes nothing. Each half step does a few conjugate gradient steps
per row (Takacs et al. 2011), starting from the row's last value. The final step solves for users exactly, so that they
agree with fold_in.
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

from engine.embedders.training.device import torch_device
from engine.errors import InputError, TrainingFailed
from engine.latent_space.fold_in import LeastSquaresFoldIn
from engine.latent_space.space import Abilities, LatentSpace
from engine.values.interactions import Interactions
from engine.values.vectors import Vectors

DEFAULT_REG = (
    2.0  # of a row without cells; on validation .003 for all data was 8% worse on gowalla, 3% better on electronics
)
MAX_DEFAULT_REG = (
    0.1  # reached below 200 users and items: beyond it nearly nothing is left of either (recall@5 .60 for .31)
)
CONJUGATE_GRADIENT_STEPS = (
    3  # of conjugate gradients in a half step; exact ones give the same recall in twelve iterations
)


class HalfStepSolver(Protocol):
    """Solves for all users or all items with the other side fixed."""

    def half_step(
        self, start: torch.Tensor, fixed: torch.Tensor, *, values: torch.Tensor, reg: torch.Tensor, steps: int
    ) -> torch.Tensor: ...


@dataclass(frozen=True)
class IALS:
    name: ClassVar[str] = "ials"
    abilities: ClassVar[Abilities] = Abilities("dot", "least_squares")

    dim: int = 128
    # lambda of Rendle et al., times (cells + alpha0 n)^nu; 0: DEFAULT_REG / (alpha0 n), n by the size of the data, and
    # at most MAX_DEFAULT_REG
    reg: float = 0.0
    nu: float = 1.0  # 1 scales the regulariser with frequency, 0 does not
    unobserved: float = 0.1  # alpha0: weight of every user-item pair, relative to the mean weight of an interaction
    iterations: int = 12  # validation recall is flat from about 10
    init_scale: float = 0.1

    def __post_init__(self) -> None:
        if self.dim < 1 or self.iterations < 1:
            raise InputError("ials: dim and iterations must be at least 1", loc=("dim",))
        if self.reg < 0 or self.unobserved <= 0:
            raise InputError("ials: unobserved must be above 0 and reg 0 or more", loc=("reg",))

    def fit(self, interactions: Interactions, *, seed: int = 0, device: str = "cpu") -> LatentSpace:
        """LatentSpace with metric dot."""
        target, cells = torch_device(device), interactions.matrix
        by_item = cells.T.tocsr()
        user_solver, item_solver = (self._solver(side, target) for side in (cells, by_item))
        unit = float(cells.data.mean(dtype=np.float64))
        default = DEFAULT_REG / (self.unobserved * math.sqrt(cells.shape[0] * cells.shape[1])) ** self.nu
        reg = unit * (self.reg or (min(default, MAX_DEFAULT_REG) if self.nu == 1 else default))
        user_reg, item_reg = (self._regularisers(side, reg).to(target) for side in (cells, by_item))
        generator = torch.Generator().manual_seed(seed)
        scale = self.init_scale / self.dim**0.5
        items = (torch.randn(cells.shape[1], self.dim, generator=generator) * scale).to(target)
        users = torch.zeros(cells.shape[0], self.dim, device=target)
        for _ in range(self.iterations):
            values, items, users = _diagonalise(items, users, unit * self.unobserved)
            users = user_solver.half_step(users, items, values=values, reg=user_reg, steps=CONJUGATE_GRADIENT_STEPS)
            values, users, items = _diagonalise(users, items, unit * self.unobserved)
            items = item_solver.half_step(items, users, values=values, reg=item_reg, steps=CONJUGATE_GRADIENT_STEPS)
            _check_finite(items)
        matrix = items.cpu().numpy()
        gram = (unit * self.unobserved * (items.T @ items)).cpu().numpy()
        fold_in = LeastSquaresFoldIn(matrix, gram, reg, self.nu, self.unobserved)
        # thousands of small systems: BLAS threads would only wait for each other
        with threadpool_limits(1, user_api="blas"):
            user_vectors = Vectors(interactions.users, fold_in.vectors(cells))
        return LatentSpace(Vectors(interactions.items, matrix), user_vectors, "dot", fold_in)

    def _solver(self, cells: sp.csr_matrix, device: torch.device) -> HalfStepSolver:
        if device.type == "cpu":
            # imported here because numba is slow to import
            from engine.embedders.factorisation.als_cpu import CpuHalfStepSolver

            return CpuHalfStepSolver(cells, torch.get_num_threads())
        from engine.embedders.factorisation.als_gpu import GpuHalfStepSolver

        return GpuHalfStepSolver(cells, self.dim, device)

    def _regularisers(self, cells: sp.csr_matrix, reg: float) -> torch.Tensor:
        """The regulariser of each row, (n_rows,) float32."""
        weights = reg * (np.diff(cells.indptr) + self.unobserved * cells.shape[1]) ** self.nu
        return torch.from_numpy(weights.astype(np.float32))


def _diagonalise(
    fixed: torch.Tensor, other: torch.Tensor, unobserved: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The eigenvalues of the Gram matrix of `fixed`, and both sides rotated into its eigenbasis, where it is diagonal.

    A conjugate gradient step then reads the row's cells but no (dim, dim) matrix. Scores do not depend on the basis, so
    the sides are not rotated back.
    """
    gram = (unobserved * (fixed.T @ fixed)).double()  # float32 does not converge for a singular Gram matrix
    _check_finite(gram)
    with _one_thread():
        values, basis = torch.linalg.eigh(gram)
    rotation = basis.to(fixed.dtype)
    return values.clamp_min(0).to(fixed.dtype), fixed @ rotation, other @ rotation


def _check_finite(factors: torch.Tensor) -> None:
    if not torch.isfinite(factors.sum()):
        raise TrainingFailed("ials diverged: factors are not finite; raise reg or lower the event weights")


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run torch on one thread: a small eigenproblem is thousands of tiny parallel loops, slower with threads.

    On a busy machine it is ten times slower with them.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
