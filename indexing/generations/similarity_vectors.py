"""Alike: the places by which the items of a generation are compared with each other, and what scales them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.embedders.item_likeness import similarity_of_model
from engine.latent_space.item_similarity import Likeness
from engine.latent_space.space import LatentSpace
from engine.values.vectors import Matrix
from indexing.generations.cold_items import ItemVectors
from indexing.searchers.metric import index_vectors, scale

LIKENESS = "likeness.safetensors"


@dataclass(frozen=True, eq=False)
class Alike:
    """A query is a place of unit length; a score is its product with a place times its factor."""

    places: Matrix  # (n_vectors, n), those of `vectors` themselves without a likeness
    factors: Matrix  # (n_vectors,)
    likeness: Likeness | None = None  # None: by the cosine of their vectors

    def placed(self, vectors: Matrix) -> Matrix:
        """The places of raw vectors, (n, dim)."""
        return vectors if self.likeness is None else self.likeness.places(vectors)

    def scaled(self, vectors: Matrix, learnt: npt.NDArray[np.bool_]) -> Matrix:
        """What is to be searched, of raw vectors, (n, dim), learnt ones or brought and predicted ones."""
        if self.likeness is None:
            return index_vectors(vectors, "cosine")
        places = self.likeness.places(vectors)
        return scale(places, self.likeness.factors(places, learnt))


def alike(embedder: str, latent: LatentSpace, shelf: ItemVectors, factors: Matrix) -> Alike:
    """`factors` are the inverse lengths of the vectors on the shelf."""
    found = similarity_of_model(embedder, latent)
    if found is None:
        return Alike(shelf.vectors, factors)
    places = found.places(shelf.vectors)
    return Alike(places, found.factors(places, shelf.is_learnt), found)
