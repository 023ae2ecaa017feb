"""Item similarity: the space in which items are compared with each other, derived from the scores that users give.

Item vectors are trained for the inner product with user vectors, and the cosine of two item vectors is not meaningful:
with as many dimensions as items, all may be orthogonal. Two items are similar if the model scores them alike over all
users. An item vector v is therefore projected to v C^0.75, where C is the covariance of the unit user vectors. With
v C^0.5 the cosine is the correlation of the scores over users; the higher power emphasises directions in which many
users differ. Items with short projections have little evidence: their scores shrink by length / sqrt(length^2 +
(EVIDENCE x median length)^2), as Koren 2008 shrinks correlations of few ratings.
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
FLOOR = 1e-3  # share of the mean variance added to all directions, for vectors in directions without users
MOST = 512  # dimensions; as good as the 2,112 of a wide blend, in a fifth of the time
USERS = 8192  # sample from which the covariance is computed
ROUNDS, BESIDE = 4, 48  # subspace iterations, and extra directions beside the MOST that are kept
BLOCK = 65_536  # rows at a time

Factors = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Likeness:
    """place = vector @ turn, with unit vectors if `is_unit`; `usual` is the median length of the places."""

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
        """The factor of each place, (n,): factor x place @ unit query place is the similarity score.

        Vectors that were supplied or predicted instead of learned are not shrunk: their score is the cosine.
        """
        long = row_lengths(places)
        shrunk = np.where(learnt, np.hypot(long, EVIDENCE * self.usual), long)
        return np.divide(1, shrunk, out=np.zeros_like(long), where=long > 0).astype(np.float32)

    def state(self) -> Mapping[str, Matrix]:
        return {"turn": self.turn, "options": np.array([self.usual, self.is_unit], np.float32)}


def restore(arrays: Mapping[str, Matrix]) -> Likeness:
    """Restore from `state()`."""
    usual, is_unit = arrays["options"].tolist()
    return Likeness(arrays["turn"], usual, bool(is_unit))


def likeness(space: LatentSpace) -> Likeness | None:
    """The similarity space of the items of a latent space; None if its user vectors have no variance."""
    return between(space.items.matrix, space.users.matrix, space.metric)


def between(items: Matrix, users: Matrix, metric: Metric) -> Likeness | None:
    """`likeness` for (n_items, dim) and (n_users, dim) vectors."""
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
    """Eigenvalues and eigenvectors (dim, at most MOST); the largest ones by subspace iteration if dim is above MOST."""
    if len(covariance) <= MOST:
        values, vectors = np.linalg.eigh(covariance.astype(np.float64))
        return values, vectors
    start = np.random.default_rng(0).standard_normal((len(covariance), MOST + BESIDE)).astype(np.float32)
    for _ in range(ROUNDS):
        start = np.linalg.qr(covariance @ start)[0]
    values, vectors = np.linalg.eigh((start.T @ (covariance @ start)).astype(np.float64))
    return values[-MOST:], start.astype(np.float64) @ vectors[:, -MOST:]
