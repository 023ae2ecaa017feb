"""ease: the item-item regression of Steck 2019 ("Embarrassingly Shallow Autoencoders"), as two vectors.

B = I - P diag(1 / P_jj), P = (G + l I)^-1. Items of the history are never recommended, so the diagonal of B does not
matter. Off the diagonal, with the eigenvectors V and eigenvalues e of G, P = -V diag(e / (e + l)) V' / l, so
user = history V diag(e / (e + l)) and item = V_j / (l P_jj). `dim` cuts off the smallest eigenvalues, and P_jj is
computed from the remaining ones. G is the Gram matrix of D_U^-a R D_I^-b, the normalisation of linear autoencoders in
Park et al. 2024; a = b = 0 is Steck's model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from engine.embedders.factorisation.normalised_svd import ITERATIONS, normalised_svd
from engine.embedders.training.device import torch_device
from engine.errors import InputError
from engine.latent_space.fold_in import LinearFoldIn
from engine.latent_space.space import Abilities, LatentSpace
from engine.values.interactions import Interactions
from engine.values.vectors import Vectors


@dataclass(frozen=True)
class Ease:
    name: ClassVar[str] = "ease"
    abilities: ClassVar[Abilities] = Abilities("dot", "linear")

    dim: int = 1024  # at most the number of items; 512 loses half of the advantage of the full-rank model
    ridge: float = 0.03  # l is the eigenvalue at this share of dim; best .06 on ml-1m, .015 on electronics
    # a; on electronics 2048 of 8360 dimensions keep .086 of .088 recall, with a = 0 only .075 of .087
    user_exponent: float = 0.25
    item_exponent: float = 0.0  # b; .25 loses a tenth of the recall on electronics
    iterations: int = ITERATIONS

    def __post_init__(self) -> None:
        if self.dim < 1 or self.iterations < 0:
            raise InputError("ease: dim must be at least 1 and iterations at least 0", loc=("dim",))
        if not 0 <= self.ridge <= 1:
            raise InputError("ease: ridge is a share of the dimensions and must be from 0 to 1", loc=("ridge",))

    def fit(self, interactions: Interactions, *, seed: int = 0, device: str = "cpu") -> LatentSpace:
        """LatentSpace with metric dot; never more dimensions than the data has."""
        svd = normalised_svd(
            interactions.matrix,
            self.dim,
            user_exponent=self.user_exponent,
            item_exponent=self.item_exponent,
            seed=seed,
            device=torch_device(device),
            iterations=self.iterations,
        )
        dim_scale = svd.ridge_filter(self.ridge)
        diagonal = np.maximum(1 - svd.right_vectors**2 @ dim_scale, 1e-3)  # l P_jj, between 0 and 1
        scale = svd.item_degrees**self.item_exponent
        items = (svd.right_vectors * (scale / diagonal)[:, None]).astype(np.float32)
        fold_in = LinearFoldIn(items, (diagonal / scale**2).astype(np.float32), dim_scale)
        users = Vectors(interactions.users, fold_in.vectors(interactions.matrix))
        return LatentSpace(Vectors(interactions.items, items), users, "dot", fold_in)
