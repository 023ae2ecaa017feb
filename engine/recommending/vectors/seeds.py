"""Seeds: the items from which a source of similar items, or of items bought together, starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from engine.recommending.values.context import Context
from engine.recommending.values.view import View
from engine.values.vectors import Matrix, normalise_rows

MAX_RECENT = 5  # items of a history
FADING = 0.7  # the weight of an item of a history, relative to the next newer item


@dataclass(frozen=True, eq=False, slots=True)
class Seeds:
    item_ids: Sequence[str]
    weights: Sequence[float]


def seeds(context: Context) -> Seeds:
    """The items of the request with equal weights; without any, the newest items of the history that the user chose or
    looked at, the newest with the largest weight."""
    found = context.computed.get("seeds")
    if found is None:
        found = context.computed["seeds"] = _seeds(context)
    return cast(Seeds, found)


def _seeds(context: Context) -> Seeds:
    request, vocabulary = context.request, context.weighting.vocabulary
    if request.item_ids:
        item_ids = tuple(dict.fromkeys(request.item_ids))
        return Seeds(item_ids, (1.0,) * len(item_ids))
    newest: dict[str, float] = {}
    history = request.history
    for at in np.argsort(-history.occurred_us, kind="stable").tolist():
        if vocabulary.meaning(history.kinds[at]).weight > 0:
            newest.setdefault(history.item_ids[at], FADING ** len(newest))
            if len(newest) == MAX_RECENT:
                break
    return Seeds(tuple(newest), tuple(newest.values()))


def seed_vector(view: View, seeds: Seeds) -> Matrix | None:
    """(n,), the weighted mean of the unit vectors of the seeds; None when no seed has a vector, or when they cancel
    out."""
    rows = [view.items.row(id_) for id_ in seeds.item_ids]
    known = [(row, weight) for row, weight in zip(rows, seeds.weights, strict=True) if row is not None]
    if not known:
        return None
    vectors = normalise_rows(view.similarity_vectors([row for row, _ in known]))
    vector: Matrix = np.array([weight for _, weight in known], np.float32) @ vectors
    return vector if vector.any() else None
