"""For you: the items nearest to the vector of a user, by the metric of the space."""

from __future__ import annotations

from collections.abc import Sequence

from engine.recommending.values.context import Context
from engine.recommending.values.nearest import Nearest
from engine.recommending.values.ranking import Ranking
from engine.recommending.vectors.query_vectors import check_dim
from engine.recommending.vectors.user_vectors import user_vectors


def rank(contexts: Sequence[Context]) -> list[Ranking | None]:
    """By the vector of the request, or else of its history; None without either."""
    by_history = [context for context in contexts if context.request.vector is None]
    vectors = iter(user_vectors(by_history))
    rankings: list[Ranking | None] = []
    for context in contexts:
        if context.view.users_to_items is None:
            rankings.append(None)
        elif context.request.vector is not None:
            rankings.append(
                Nearest("users_to_items", check_dim(context.request.vector, context.view), "vector", "for_you")
            )
        else:
            vector = next(vectors)
            rankings.append(None if vector is None else Nearest("users_to_items", vector, "history", "for_you"))
    return rankings
