"""For these people: the items nearest to the mean of the vectors of some users, by the metric of the space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from engine.recommending.values.context import Context
from engine.recommending.values.nearest import Nearest
from engine.recommending.values.ranking import Ranking
from engine.recommending.vectors.user_vectors import user_vectors
from engine.values.vectors import Matrix, normalise_rows


def rank(contexts: Sequence[Context]) -> list[Ranking | None]:
    """None for a request whose users have no vectors, or whose vectors cancel out."""
    return [_ranking(context) for context in contexts]


def _ranking(context: Context) -> Ranking | None:
    if context.view.users_to_items is None:
        return None
    vectors = _vectors(context)
    if not len(vectors):
        return None
    mean: Matrix = normalise_rows(vectors).mean(axis=0)  # each user counts the same, however long the history
    return Nearest("users_to_items", mean, "people", "for_these_people") if mean.any() else None


def _vectors(context: Context) -> Matrix:
    """(n, dim): of the histories of the users, else those that the generation stores."""
    asked = context.request
    alone = [replace(context, request=replace(asked, history=each), computed={}) for each in asked.people]
    found = [vector for vector in (*user_vectors(alone), *asked.people_vectors) if vector is not None]
    return np.array(found, np.float32).reshape(len(found), context.view.dim)
