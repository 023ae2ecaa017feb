"""By which likeness the items of a model are compared: that of the users whom one of these embedders gives them to."""

from __future__ import annotations

from engine.embedders.registry import EMBEDDERS
from engine.latent_space.item_similarity import Likeness, likeness
from engine.latent_space.space import LatentSpace


def of_model(embedder: str, space: LatentSpace) -> Likeness | None:
    """As `likeness`, of a space that one of our own models of users learnt.

    Vectors that were made elsewhere, and those of feature records, are compared by the cosine of what they are.
    """
    return likeness(space) if embedder in EMBEDDERS else None
