"""How items of a stored model are compared: by learnt similarity for embedders of interactions, else by cosine."""

from __future__ import annotations

from engine.embedders.registry import EMBEDDERS
from engine.latent_space.item_similarity import ItemSimilarity, learn_item_similarity
from engine.latent_space.space import LatentSpace


def similarity_of_model(embedder: str, space: LatentSpace) -> ItemSimilarity | None:
    """`learn_item_similarity(space)` if one of nearfield's embedders of interactions learnt the space, else None.

    None means plain cosine: imported vectors and vectors of feature records are compared by it.
    """
    return learn_item_similarity(space) if embedder in EMBEDDERS else None
