"""ease: the item-item regression of Steck 2019 ("Embarrassingly Shallow Autoencoders"), as two vectors.

B = I - P diag(1 / P_jj), P = (G + l I)^-1. An item a user has had is never recommended, so the diagonal of B is free,
and off it P is -V diag(e / (e + l)) V' / l by the eigenvectors of G: user = history V diag(e / (e + l)), item =
V_j / (l P_jj). The dimensions cut off the smallest eigenvalues; P_jj is that of the cut V. G is taken of
D_U^-a R D_I^-b, as Park et al. 2024 normalise linear autoencoders; a = b = 0 is Steck's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from engine.embedders.factorisation.normalised_svd import ITERATIONS, factors
from engine.embedders.training.device import pick
from engine.errors import InputError
from engine.latent_space.fold_in import LinearFoldIn
from engine.latent_space.space import Abilities, LatentSpace
from engine.values.interactions import Interactions
from engine.values.vectors import Vectors


@dataclass(frozen=True)
class Ease:
    name: ClassVar[str] = "ease"
    abilities: ClassVar[Abilities] = Abilities("dot", "linear")

    dim: int = 1024  # at most the number of items; a full-rank model loses half of its lead at 512
    ridge: float = 0.03  # l is the eigenvalue at this share of dim; ml-1m likes .06, electronics .015
    user_exponent: float = (
        0.25  # a; cut at 2048 of 8360, .086 of .088 recall is left on electronics, with 0 .075 of .087
    )
    item_exponent: float = 0.0  # b; .25 costs electronics a tenth of its recall
    iterations: int = ITERATIONS

    def __post_init__(self) -> None:
        if self.dim < 1 or self.iterations < 0:
            raise InputError("ease: dim is at least 1 and iterations at least 0", loc=("dim",))
        if not 0 <= self.ridge <= 1:
            raise InputError("ease: ridge is a share of the dimensions, 0 to 1", loc=("ridge",))

    def fit(self, interactions: Interactions, *, seed: int = 0, device: str = "cpu") -> LatentSpace:
        """LatentSpace with metric dot; never more dimensions than the data has."""
        found = factors(
            interactions.matrix,
            self.dim,
            user_exponent=self.user_exponent,
            item_exponent=self.item_exponent,
            seed=seed,
            device=pick(device),
            iterations=self.iterations,
        )
        kept = found.ridge(self.ridge)
        diagonal = np.maximum(1 - found.right**2 @ kept, 1e-3)  # l P_jj, within 0 and 1
        scale = found.item_degrees**self.item_exponent
        items = (found.right * (scale / diagonal)[:, None]).astype(np.float32)
        fold_in = LinearFoldIn(items, (diagonal / scale**2).astype(np.float32), kept)
        users = Vectors(interactions.users, fold_in.vectors(interactions.matrix))
        return LatentSpace(Vectors(interactions.items, items), users, "dot", fold_in)
