"""SimilarityVectors: the vectors by which the items of a generation are compared with each other.

For models of users these are the item vectors after the transform of `engine.latent_space.item_similarity`. For
imported vectors and for models of feature records, they are the item vectors themselves, compared by cosine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.embedders.model_item_similarity import similarity_of_model
from engine.latent_space.item_similarity import ItemSimilarity
from engine.latent_space.space import LatentSpace
from engine.values.vectors import Matrix
from indexing.generations.cold_items import ItemVectors
from indexing.searchers.metric import index_vectors, scale

LIKENESS = "likeness.safetensors"  # the file of the transform


@dataclass(frozen=True, eq=False)
class SimilarityVectors:
    """A query is a transformed vector of unit length; a score is its product with one of `vectors` times its factor."""

    vectors: Matrix  # (n_vectors, n); without a transform, the item vectors themselves
    factors: Matrix  # (n_vectors,)
    transform: ItemSimilarity | None = None  # None: items are compared by the cosine of their vectors

    def transformed(self, raw: Matrix) -> Matrix:
        """(n, dim) raw item vectors -> (n, self.vectors.shape[1])."""
        return raw if self.transform is None else self.transform.project(raw)

    def scaled(self, raw: Matrix, learnt: npt.NDArray[np.bool_]) -> Matrix:
        """What to index for (n, dim) raw item vectors; `learnt`, (n,), is False for vectors not made by the model."""
        if self.transform is None:
            return index_vectors(raw, "cosine")
        transformed = self.transform.project(raw)
        return scale(transformed, self.transform.factors(transformed, learnt))


def similarity_vectors(
    embedder: str, latent: LatentSpace, item_vectors: ItemVectors, factors: Matrix
) -> SimilarityVectors:
    """`factors` are the inverse lengths of `item_vectors`."""
    transform = similarity_of_model(embedder, latent)
    if transform is None:
        return SimilarityVectors(item_vectors.vectors, factors)
    transformed = transform.project(item_vectors.vectors)
    return SimilarityVectors(transformed, transform.factors(transformed, item_vectors.is_learnt), transform)
