"""blend: the sum of a `spectral`, a wide `ease` and an `mf` model as one model, with their vectors concatenated.

`spectral` learns broad tastes, `ease` pairs of items, `mf` the order at the top of the list. A sum of inner products is
one inner product of concatenated vectors, and it ranks better than each part. Each part is scaled so that its scores
have the same standard deviation over a sample of users, then multiplied by its weight.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import scipy.sparse as sp

from engine.checkpoints import Checkpoints
from engine.embedders.default_dims import DEFAULT_SPHERE_DIM, default_dim
from engine.embedders.ease import Ease
from engine.embedders.factorisation.recency_lift import DEFAULT_TREND, with_recency_lift
from engine.embedders.mf import MF
from engine.embedders.spectral import Spectral
from engine.embedders.training.gradient_descent import EpochReport, divergence_error, no_report
from engine.errors import InputError, TrainingFailed
from engine.latent_space.fold_in import SumFoldIn
from engine.latent_space.space import Abilities, LatentSpace
from engine.values.interactions import Interactions
from engine.values.vectors import Matrix, Vectors

SCALING_USERS = 500  # sample on whose scores the parts are scaled
# Narrow dimensions from which the wide part does not help: gowalla .2203 -> .2161 on validation.
MIN_DIM_WITHOUT_WIDE = 512
# Share of filled cells: ml-1m (.045) has .2614 with an mf part and .2631 without, eight times as fast.
MAX_DENSITY_WITH_SPHERE = 0.03


@dataclass(frozen=True)
class Blend:
    name: ClassVar[str] = "blend"
    abilities: ClassVar[Abilities] = Abilities("dot", "sum", resumable=True)

    dim: int = 0  # of the narrow part (spectral); 0: as `spectral` chooses
    wide: int = -1  # dimensions of the wide part (ease); -1: 512, or no part where `dim` is 512 or more
    weight: float = 0.6  # of the wide part's scores; best .5 on ml-1m, 1 on electronics
    user_exponent: float = Spectral.user_exponent
    item_exponent: float = Spectral.item_exponent
    out_exponent: float = Spectral.out_exponent
    ridge: float = Spectral.ridge
    wide_ridge: float = 0.06
    wide_user_exponent: float = 0.25
    wide_item_exponent: float = 0.0  # unlike the narrow part: the more the parts differ, the more the sum gains

    sphere: int = -1  # dimensions of the mf part; -1: 128, or no part on data above MAX_DENSITY_WITH_SPHERE
    sphere_weight: float = 1.0  # electronics +3.9%
    sphere_epochs: int = MF.epochs
    sphere_rate: float = MF.learning_rate
    sphere_temperature: float = MF.temperature
    sphere_power: float = MF.loss_power
    trend: float = DEFAULT_TREND  # applied to the sum, as in `spectral`

    def __post_init__(self) -> None:
        if min(self.dim, self.weight, self.sphere_weight) < 0 or min(self.wide, self.sphere) < -1:
            raise InputError("blend: dim and weights must be 0 or more, wide and sphere -1 or more", loc=("dim",))

    def fit(
        self,
        interactions: Interactions,
        *,
        seed: int = 0,
        device: str = "cpu",
        report: EpochReport = no_report,
        checkpoints: Checkpoints | None = None,
    ) -> LatentSpace:
        """LatentSpace with metric dot; its dimension is the sum over the parts."""
        narrow = Spectral(self.dim, self.user_exponent, self.item_exponent, self.out_exponent, self.ridge, trend=0)
        parts, weights = [narrow.fit(interactions, seed=seed, device=device)], [1.0]
        if wide := self.wide_dim(self.dim or default_dim(len(interactions.items))):
            ease = Ease(wide, self.wide_ridge, self.wide_user_exponent, self.wide_item_exponent)
            parts.append(ease.fit(interactions, seed=seed, device=device))
            weights.append(self.weight)
        if width := self.sphere_dim(interactions.matrix.shape, interactions.matrix.nnz):
            try:
                sphere = self._sphere(width).fit(
                    interactions, seed=seed, device=device, report=report, checkpoints=checkpoints
                )
            except TrainingFailed as error:  # names mf and its learning_rate, which the caller does not know
                raise divergence_error(self.name, error.losses, "sphere_rate") from None
            parts.append(sphere)
            weights.append(self.sphere_weight)
        return with_recency_lift(_side_by_side(parts, weights, interactions), interactions, self.trend)

    def _sphere(self, dim: int) -> MF:
        return MF(
            dim,
            self.sphere_epochs,
            learning_rate=self.sphere_rate,
            temperature=self.sphere_temperature,
            loss_power=self.sphere_power,
        )

    def sphere_dim(self, shape: tuple[int, int], n_cells: int) -> int:
        """Dimensions of the mf part for data of shape (n_users, n_items) with `n_cells` interactions."""
        if self.sphere >= 0:
            return self.sphere
        return DEFAULT_SPHERE_DIM if n_cells <= MAX_DENSITY_WITH_SPHERE * math.prod(shape) else 0

    def wide_dim(self, narrow: int) -> int:
        """Dimensions of the wide part beside a narrow part of `narrow` dimensions."""
        if self.wide >= 0:
            return self.wide
        return 0 if narrow >= MIN_DIM_WITHOUT_WIDE else 512


def _side_by_side(parts: list[LatentSpace], weights: list[float], interactions: Interactions) -> LatentSpace:
    """The parts concatenated, each scaled to unit standard deviation of its scores times its weight."""
    matrix = interactions.matrix
    sample = sp.csr_matrix(matrix[:: max(1, matrix.shape[0] // SCALING_USERS)])
    ends = tuple(int(end) for end in np.cumsum([part.dim for part in parts]))
    is_unit = np.array([part.metric == "cosine" for part in parts])
    unscaled = SumFoldIn(tuple(part.fold_in for part in parts), ends, np.ones(len(parts), np.float32), is_unit)
    users = np.split(unscaled.vectors(sample), ends[:-1], axis=1)
    spreads = [float((block @ part.items.matrix.T).std()) for block, part in zip(users, parts, strict=True)]
    scales = [weight / max(spread, 1e-12) for weight, spread in zip(weights, spreads, strict=True)]
    fold_in = replace(unscaled, scales=np.array(scales, np.float32))
    items: Matrix = np.concatenate([part.items.matrix for part in parts], axis=1)
    vectors = Vectors(interactions.users, fold_in.vectors(matrix))
    return LatentSpace(Vectors(interactions.items, items), vectors, "dot", fold_in)
