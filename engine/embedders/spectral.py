"""spectral: a linear autoencoder in closed form, from the truncated SVD of the degree-normalised interactions.

A = D_U^-a R D_I^-b ~ U S V'; user = history D_I^-b V f(S), item = D_I^c V with the ridge filter f(s) = s^2 / (s^2 + l):
the graph filter of Shen et al. 2021 (GF-CF) with free degree exponents, as linear autoencoders that adapt to the data
normalise (Park et al. 2024), served as two vectors and one inner product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from engine.embedders.default_dims import default_dim
from engine.embedders.factorisation.normalised_svd import ITERATIONS, factors
from engine.embedders.factorisation.recency_lift import TREND, trending
from engine.embedders.training.device import pick
from engine.errors import InputError
from engine.latent_space.fold_in import LinearFoldIn
from engine.latent_space.space import Abilities, LatentSpace
from engine.values.interactions import Interactions
from engine.values.vectors import Vectors


@dataclass(frozen=True)
class Spectral:
    name: ClassVar[str] = "spectral"
    abilities: ClassVar[Abilities] = Abilities("dot", "linear")

    dim: int = (
        0  # 0: by the number of items, 128 to 1024 (best on ml-1m 96, electronics 128, gowalla 1024 over 512 by 6%)
    )
    user_exponent: float = 0.32  # a; the usual .5 of graph filters loses 1-4% recall on gowalla and ml-1m
    item_exponent: float = 0.44  # b; gowalla and ml-1m like .4, electronics .5
    out_exponent: float = 0.28  # c; .1 to .15 under b is better by 1-2% on all three: popular items a little less
    ridge: float = 0.25  # l is the eigenvalue at this share of dim; +4% recall on ml-1m over f = s^.5, elsewhere equal
    iterations: int = ITERATIONS
    trend: float = TREND  # power of what sells of late over what sells of all times

    def __post_init__(self) -> None:
        if self.dim < 0 or self.iterations < 0:
            raise InputError("spectral: dim and iterations cannot be negative", loc=("dim",))
        if not 0 <= self.ridge <= 1:
            raise InputError("spectral: ridge is a share of the dimensions, 0 to 1", loc=("ridge",))

    def fit(self, interactions: Interactions, *, seed: int = 0, device: str = "cpu") -> LatentSpace:
        """LatentSpace with metric dot; never more dimensions than the data has."""
        found = factors(
            interactions.matrix,
            self.dim or default_dim(len(interactions.items)),
            user_exponent=self.user_exponent,
            item_exponent=self.item_exponent,
            seed=seed,
            device=pick(device),
            iterations=self.iterations,
        )
        items = (found.right * (found.item_degrees**self.out_exponent)[:, None]).astype(np.float32)
        scale = found.item_degrees ** -(self.item_exponent + self.out_exponent)
        fold_in = LinearFoldIn(items, scale.astype(np.float32), found.ridge(self.ridge))
        users = Vectors(interactions.users, fold_in.vectors(interactions.matrix))
        space = LatentSpace(Vectors(interactions.items, items), users, "dot", fold_in)
        return trending(space, interactions, self.trend)
