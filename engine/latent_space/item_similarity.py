"""Likeness: the space in which items are compared with each other, made of the users whom the model gives them to.

A model makes item vectors for the inner product with user vectors. The cosine of two of them says little: with as many
dimensions as items they may all be at right angles. What the model knows of two items is which users they suit, so an
item is placed at v C^0.75, with C the covariance of the users at unit length: v C^0.5 would have as cosine the
correlation, over users, of what the model scores, and the power weighs what many users tell apart a little more. An
item that no user's score tells much of is near nothing for certain: its scores are less by length / sqrt(length^2 +
(EVIDENCE x the median length)^2), as Koren 2008 shrinks correlations of few ratings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.latent_space.space import LatentSpace, Metric
from engine.values.vectors import Matrix, normalise_rows, rescale_extremes, row_lengths

POWER = 0.75  # of the covariance; .5 leaves elsa .04 below item-kNN on shops of 300 items, 1 ials on those of 20
EVIDENCE = 0.5  # 0: blend finds 3% less than item-kNN on Online Retail, .5 9% more; 1 16% more, by what sells most
FLOOR = 1e-3  # of the mean variance, added to all: a vector that a caller brings may lie where no user does
MOST = 512  # dimensions: 2,112 of a wide blend find as much with them, in a fifth of the time
USERS = 8192  # that the covariance is measured on
ROUNDS, BESIDE = 4, 48  # of the search for the widest directions, and directions searched beside them
BLOCK = 65_536  # rows at a time

Factors = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Likeness:
    """place = vector @ turn, of the vector at unit length where `is_unit`; `usual` is the median length of places."""

    turn: Matrix  # (dim, at most MOST)
    usual: float
    is_unit: bool

    @property
    def dim(self) -> int:
        return int(self.turn.shape[1])

    def places(self, vectors: Matrix) -> Matrix:
        """(n, dim) item vectors -> (n, self.dim) float32."""
        made = np.empty((len(vectors), self.dim), np.float32)
        for start in range(0, len(vectors), BLOCK):
            block = vectors[start : start + BLOCK]
            made[start : start + BLOCK] = (
                normalise_rows(block) if self.is_unit else rescale_extremes(block)
            ) @ self.turn
        return made

    def factors(self, places: Matrix, learnt: npt.NDArray[np.bool_]) -> Factors:
        """What a place is multiplied with, (n,), so that its product with a place of unit length is the score.

        There is no evidence to look at of vectors that are not learnt but brought or predicted: theirs is the cosine.
        """
        long = row_lengths(places)
        shrunk = np.where(learnt, np.hypot(long, EVIDENCE * self.usual), long)
        return np.divide(1, shrunk, out=np.zeros_like(long), where=long > 0).astype(np.float32)

    def state(self) -> Mapping[str, Matrix]:
        return {"turn": self.turn, "options": np.array([self.usual, self.is_unit], np.float32)}


def restore(arrays: Mapping[str, Matrix]) -> Likeness:
    """The one whose `state()` it was."""
    usual, is_unit = arrays["options"].tolist()
    return Likeness(arrays["turn"], usual, bool(is_unit))


def likeness(space: LatentSpace) -> Likeness | None:
    """Of the items of a space, the same for the same space; None where its users tell no items apart."""
    return between(space.items.matrix, space.users.matrix, space.metric)


def between(items: Matrix, users: Matrix, metric: Metric) -> Likeness | None:
    """As `likeness`, of (n_items, dim) and (n_users, dim) vectors."""
    sample = normalise_rows(users[:: max(1, -(-len(users) // USERS))])
    if len(sample) < 2:
        return None
    apart = sample - sample.mean(axis=0)
    covariance = (apart.T @ apart) / np.float32(len(apart))
    mean = float(np.trace(covariance)) / len(covariance)
    if not mean > np.finfo(np.float32).tiny:
        return None
    values, directions = _widest(covariance)
    turn = directions * ((np.maximum(values, 0) / mean + FLOOR) ** POWER)
    made = Likeness(np.ascontiguousarray(turn, dtype=np.float32), 0.0, metric == "cosine")
    long = row_lengths(made.places(items))
    return Likeness(made.turn, float(np.median(long[long > 0])), made.is_unit) if long.any() else None


def _widest(covariance: Matrix) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Eigenvalues and eigenvectors, (dim, at most MOST): of many, the largest by iteration over a subspace."""
    if len(covariance) <= MOST:
        values, vectors = np.linalg.eigh(covariance.astype(np.float64))
        return values, vectors
    start = np.random.default_rng(0).standard_normal((len(covariance), MOST + BESIDE)).astype(np.float32)
    for _ in range(ROUNDS):
        start = np.linalg.qr(covariance @ start)[0]
    values, vectors = np.linalg.eigh((start.T @ (covariance @ start)).astype(np.float64))
    return values[-MOST:], start.astype(np.float64) @ vectors[:, -MOST:]
