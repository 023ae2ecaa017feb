"""blend: the sum of a `spectral`, a wide `ease` and an `mf` model, as one: their vectors side by side.

The first knows what goes together overall, the second which two items go together, the third what ranks at the top.
Each misses what the others have: the sum of two-vector models is a two-vector model that beats each of them. The parts
are scaled to scores of equal spread over a sample of users, then each by its weight.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import scipy.sparse as sp

from engine.checkpoints import Checkpoints
from engine.embedders.default_dims import SPHERE, default_dim
from engine.embedders.ease import Ease
from engine.embedders.factorisation.recency_lift import TREND, trending
from engine.embedders.mf import MF
from engine.embedders.spectral import Spectral
from engine.embedders.training.gradient_descent import Report, diverged, silent
from engine.errors import InputError, TrainingFailed
from engine.latent_space.fold_in import SumFoldIn
from engine.latent_space.space import Abilities, LatentSpace
from engine.values.interactions import Interactions
from engine.values.vectors import Matrix, Vectors

SAMPLE = 500  # users whose scores scale the parts
ENOUGH = 512  # narrow dimensions from which the wide part adds nothing: gowalla .2203 -> .2161 on validation
DENSE = 0.03  # share of filled cells: ml-1m (.045) has .2614 with an mf part and .2631 without, eight times as fast


@dataclass(frozen=True)
class Blend:
    name: ClassVar[str] = "blend"
    abilities: ClassVar[Abilities] = Abilities("dot", "sum", resumable=True)

    dim: int = 0  # of the narrow part; 0: as `spectral`
    wide: int = -1  # of the wide part; -1: 512, and none where the narrow part has 512 or more
    weight: float = 0.6  # of the wide part; best .5 on ml-1m, 1 on electronics
    user_exponent: float = Spectral.user_exponent
    item_exponent: float = Spectral.item_exponent
    out_exponent: float = Spectral.out_exponent
    ridge: float = Spectral.ridge
    wide_ridge: float = 0.06
    wide_user_exponent: float = 0.25
    wide_item_exponent: float = 0.0  # unlike the narrow part's: the less they have in common, the more the sum gains

    sphere: int = -1  # dimensions of the mf part; -1: 128, and none where more than DENSE of all cells are filled
    sphere_weight: float = 1.0  # electronics +3.9%
    sphere_epochs: int = MF.epochs
    sphere_rate: float = MF.learning_rate
    sphere_temperature: float = MF.temperature
    sphere_power: float = MF.loss_power
    trend: float = TREND  # of all parts, as in `spectral`

    def __post_init__(self) -> None:
        if min(self.dim, self.weight, self.sphere_weight) < 0 or min(self.wide, self.sphere) < -1:
            raise InputError("blend: dim and weights are 0 or more, wide and sphere -1 or more", loc=("dim",))

    def fit(
        self,
        interactions: Interactions,
        *,
        seed: int = 0,
        device: str = "cpu",
        report: Report = silent,
        checkpoints: Checkpoints | None = None,
    ) -> LatentSpace:
        """LatentSpace with metric dot and the dimensions of all parts."""
        narrow = Spectral(self.dim, self.user_exponent, self.item_exponent, self.out_exponent, self.ridge, trend=0)
        parts, weights = [narrow.fit(interactions, seed=seed, device=device)], [1.0]
        if wide := self.wide_of(self.dim or default_dim(len(interactions.items))):
            ease = Ease(wide, self.wide_ridge, self.wide_user_exponent, self.wide_item_exponent)
            parts.append(ease.fit(interactions, seed=seed, device=device))
            weights.append(self.weight)
        if width := self.sphere_of(interactions.matrix.shape, interactions.matrix.nnz):
            try:
                sphere = self._sphere(width).fit(
                    interactions, seed=seed, device=device, report=report, checkpoints=checkpoints
                )
            except TrainingFailed as error:  # of a model and a parameter that nobody here has named
                raise diverged(self.name, error.losses, "sphere_rate") from None
            parts.append(sphere)
            weights.append(self.sphere_weight)
        return trending(_sum(parts, weights, interactions), interactions, self.trend)

    def _sphere(self, dim: int) -> MF:
        return MF(
            dim,
            self.sphere_epochs,
            learning_rate=self.sphere_rate,
            temperature=self.sphere_temperature,
            loss_power=self.sphere_power,
        )

    def sphere_of(self, shape: tuple[int, int], n_cells: int) -> int:
        """Dimensions of the mf part for (n_users, n_items) with so many cells filled."""
        if self.sphere >= 0:
            return self.sphere
        return SPHERE if n_cells <= DENSE * math.prod(shape) else 0

    def wide_of(self, narrow: int) -> int:
        """Dimensions of the wide part beside a narrow one of `narrow`."""
        if self.wide >= 0:
            return self.wide
        return 0 if narrow >= ENOUGH else 512


def _sum(parts: list[LatentSpace], weights: list[float], interactions: Interactions) -> LatentSpace:
    """The parts side by side, each scaled to unit spread of scores and times its weight."""
    matrix = interactions.matrix
    sample = sp.csr_matrix(matrix[:: max(1, matrix.shape[0] // SAMPLE)])
    ends = tuple(int(end) for end in np.cumsum([part.dim for part in parts]))
    is_unit = np.array([part.metric == "cosine" for part in parts])
    whole = SumFoldIn(tuple(part.fold_in for part in parts), ends, np.ones(len(parts), np.float32), is_unit)
    users = np.split(whole.vectors(sample), ends[:-1], axis=1)
    spreads = [float((block @ part.items.matrix.T).std()) for block, part in zip(users, parts, strict=True)]
    scales = [weight / max(spread, 1e-12) for weight, spread in zip(weights, spreads, strict=True)]
    fold_in = replace(whole, scales=np.array(scales, np.float32))
    items: Matrix = np.concatenate([part.items.matrix for part in parts], axis=1)
    vectors = Vectors(interactions.users, fold_in.vectors(matrix))
    return LatentSpace(Vectors(interactions.items, items), vectors, "dot", fold_in)
