"""Dislikes in the fold-in: the vector of a user's dislikes is subtracted, which lowers the scores of similar items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from engine.latent_space.space import FoldIn, LatentSpace
from engine.values.interactions import Interactions
from engine.values.vectors import EPSILON, Matrix, Vectors

NAME = "less_disliked"


@dataclass(frozen=True, eq=False)
class FoldInWithDislikes:
    """user = fold_in(likes) - weight x fold_in(dislikes), where the second vector is at most as long as the first.

    Dislikes are the cells below zero. The same fold-in computes the vector of a user who likes these items, and a share
    of it is subtracted. A user without likes has no vector.
    """

    likes: FoldIn
    weight: float  # at most 1

    def vectors(self, histories: sp.csr_matrix) -> Matrix:
        if not (histories.data < 0).any():
            return self.likes.vectors(histories)
        liked, disliked = split_by_sign(histories)
        vectors = self.likes.vectors(liked)
        rows = np.flatnonzero(np.diff(disliked.indptr))
        dislike_vectors = self.likes.vectors(sp.csr_matrix(disliked[rows]))
        vectors[rows] -= self.shares(vectors[rows], dislike_vectors)[:, None] * dislike_vectors
        return vectors

    def shares(self, liked: Matrix, disliked: Matrix) -> npt.NDArray[np.float32]:
        """The share of each row of `disliked` that is subtracted from the same row of `liked`, (n,)."""
        lengths = np.linalg.norm(liked, axis=1) / np.maximum(np.linalg.norm(disliked, axis=1), EPSILON)
        return np.asarray(self.weight * np.minimum(1.0, lengths), dtype=np.float32)

    def state(self) -> tuple[str, Mapping[str, npt.NDArray[np.float32]]]:
        name, arrays = self.likes.state()
        own = {"weight": np.array([self.weight], np.float32)}
        return NAME, own | {f"{name}.{key}": array for key, array in arrays.items()}


def split_by_sign(histories: sp.csr_matrix) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """The cells above zero, and the cells below zero with their sign changed; same shape."""
    parts = []
    for sign in (1, -1):
        part = histories * np.float32(sign)
        part.data = np.maximum(part.data, 0)
        part.eliminate_zeros()
        parts.append(sp.csr_matrix(part))
    return parts[0], parts[1]


def accepts_dislikes(fold_in: FoldIn | None) -> bool:
    """Whether the fold-in accepts cells below zero; other fold-ins need histories without dislikes."""
    return isinstance(fold_in, FoldInWithDislikes)


def with_dislikes(space: LatentSpace, weight: float, interactions: Interactions) -> LatentSpace:
    """The space with dislikes subtracted from its user vectors; the same space for a weight of 0."""
    if weight == 0:
        return space
    fold_in = FoldInWithDislikes(space.fold_in, weight)
    return replace(space, fold_in=fold_in, users=Vectors(interactions.users, fold_in.vectors(interactions.signed)))
