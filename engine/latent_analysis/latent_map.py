"""The vectors of a model as a 2-D map, with the label and the anomaly score of each point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engine.embedders.model_item_similarity import similarity_of_model
from engine.latent_analysis.projection import to_2d
from engine.latent_space.space import LatentSpace
from engine.values.vectors import Vectors, normalise_rows

MOST = 5000  # points; more cover each other


def placed(embedder: str, space: LatentSpace) -> Vectors:
    """The vectors of the items as they are compared with each other: unit vectors of the similarity space if the model
    has one, else the item vectors."""
    similarity = similarity_of_model(embedder, space)
    if similarity is None:
        return space.items
    return Vectors(space.items.ids, normalise_rows(similarity.project(space.items.matrix)))


def latent_map(
    vectors: Vectors,
    method: str,
    *,
    labels: Mapping[str, str | None],
    scores: Mapping[str, float],
    titles: Mapping[str, str | None],
    threshold: float | None = None,
    n: int = MOST,
    seed: int = 0,
) -> dict[str, Any]:
    """At most n points, sampled by `seed`, as parallel lists of ids, x, y, labels and scores; null if unknown."""
    rows = np.sort(np.random.default_rng(seed).permutation(len(vectors))[:n])
    points = to_2d(np.asarray(vectors.matrix[rows]), method, seed=seed)
    ids: Sequence[str] = [vectors.ids.ids[row] for row in rows.tolist()]
    return {
        "method": method,
        "of": len(vectors),
        "ids": ids,
        "x": [round(float(each), 4) for each in points[:, 0]],
        "y": [round(float(each), 4) for each in points[:, 1]],
        "labels": [labels.get(id_) for id_ in ids],
        "scores": [scores.get(id_) for id_ in ids],
        "titles": [titles.get(id_) for id_ in ids],
        "threshold": threshold,
    }
