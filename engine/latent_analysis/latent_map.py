"""latent_map: the vectors of a model as a map with what is known of each point: its label, how odd it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engine.embedders.item_likeness import similarity_of_model
from engine.latent_analysis.projection import to_2d
from engine.latent_space.space import LatentSpace
from engine.values.vectors import Vectors, normalise_rows

MOST = 5000  # points; more hide each other


def placed(embedder: str, space: LatentSpace) -> Vectors:
    """What is drawn of the items of a model: directions of their places, as they are compared with each other, or their
    vectors where those are."""
    found = similarity_of_model(embedder, space)
    if found is None:
        return space.items
    return Vectors(space.items.ids, normalise_rows(found.places(space.items.matrix)))


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
    """At most n points, drawn by seed: parallel lists of ids, x, y, label and score; null where nothing is known."""
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
