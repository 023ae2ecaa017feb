"""Similar: the items nearest to some items by cosine: the items of the request, or else the newest of the history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from engine.recommending.values.context import Context
from engine.recommending.values.nearest import Nearest
from engine.recommending.values.ranking import Ranking
from engine.recommending.vectors.seeds import seed_vector, seeds


def rank(contexts: Sequence[Context]) -> list[Ranking | None]:
    """None for a request whose seeds have no vectors."""
    return [similar_items(context) for context in contexts]


def never_shows(context: Context) -> Sequence[str]:
    """The seeds."""
    return seeds(context).item_ids


def similar_items(context: Context) -> Nearest | None:
    """Computed once for a shelf, which may fall back to it in several ways."""
    if "similar" not in context.computed:
        context.computed["similar"] = _nearest(context)
    return cast(Nearest | None, context.computed["similar"])


def _nearest(context: Context) -> Nearest | None:
    if context.view.items_to_items is None:
        return None
    vector = seed_vector(context.view, seeds(context))
    return None if vector is None else Nearest("items_to_items", vector, "similar", "similar")
