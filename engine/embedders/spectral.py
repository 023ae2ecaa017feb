"""spectral: a linear autoencoder in closed form, from the truncated SVD of the degree-normalised interactions.

A = D_U^-a R D_I^-b ~ U S V'; user = history D_I^-b V f(S), item = D_I^c V with the ridge filter f(s) = s^2 / (s^2 + l).
This is the graph filter of Shen et al. 2021 (GF-CF) with free degree exponents, the normalisation of linear
autoencoders in Park et al. 2024. A score is one inner product of a user and an item vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from engine.embedders.default_dims import default_dim
from engine.embedders.factorisation.normalised_svd import ITERATIONS, normalised_svd
from engine.embedders.factorisation.recency_lift import DEFAULT_TREND, with_recency_lift
from engine.embedders.training.device import torch_device
from engine.errors import InputError
from engine.latent_space.fold_in import LinearFoldIn
from engine.latent_space.space import Abilities, LatentSpace
from engine.values.interactions import Interactions
from engine.values.vectors import Vectors


@dataclass(frozen=True)
class Spectral:
    name: ClassVar[str] = "spectral"
    abilities: ClassVar[Abilities] = Abilities("dot", "linear")

    # 0: by the number of items, 128 to 1024 (best: ml-1m 96, electronics 128, gowalla 1024, 6% better than 512)
    dim: int = 0
    user_exponent: float = 0.32  # a; the usual .5 of graph filters loses 1-4% recall on gowalla and ml-1m
    item_exponent: float = 0.44  # b; best .4 on gowalla and ml-1m, .5 on electronics
    out_exponent: float = 0.28  # c; .1 to .15 below b is 1-2% better on all three: popular items score a little lower
    ridge: float = 0.25  # l is the eigenvalue at this share of dim; ml-1m +4% recall over f = s^.5, others equal
    iterations: int = ITERATIONS
    trend: float = DEFAULT_TREND  # weight of recent popularity over that of all times; see `recency_lift`

    def __post_init__(self) -> None:
        if self.dim < 0 or self.iterations < 0:
            raise InputError("spectral: dim and iterations cannot be negative", loc=("dim",))
        if not 0 <= self.ridge <= 1:
            raise InputError("spectral: ridge is a share of the dimensions and must be from 0 to 1", loc=("ridge",))

    def fit(self, interactions: Interactions, *, seed: int = 0, device: str = "cpu") -> LatentSpace:
        """LatentSpace with metric dot; never more dimensions than the data has."""
        svd = normalised_svd(
            interactions.matrix,
            self.dim or default_dim(len(interactions.items)),
            user_exponent=self.user_exponent,
            item_exponent=self.item_exponent,
            seed=seed,
            device=torch_device(device),
            iterations=self.iterations,
        )
        items = (svd.right_vectors * (svd.item_degrees**self.out_exponent)[:, None]).astype(np.float32)
        scale = svd.item_degrees ** -(self.item_exponent + self.out_exponent)
        fold_in = LinearFoldIn(items, scale.astype(np.float32), svd.ridge_filter(self.ridge))
        users = Vectors(interactions.users, fold_in.vectors(interactions.matrix))
        space = LatentSpace(Vectors(interactions.items, items), users, "dot", fold_in)
        return with_recency_lift(space, interactions, self.trend)
