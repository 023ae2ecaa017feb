"""Search: the items nearest to some items and far from others, or nearest to a vector, by cosine. Only items that have
a vector are shown."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from engine.recommending.sources.popular import popular_items
from engine.recommending.values.context import Context
from engine.recommending.values.nearest import Nearest
from engine.recommending.values.ranking import Ranking
from engine.recommending.values.view import View
from engine.recommending.vectors.query_vectors import query_vector


def rank(contexts: Sequence[Context]) -> list[Ranking | None]:
    return [_ranking(context) for context in contexts]


def _ranking(context: Context) -> Ranking | None:
    query = query_vector(context.view, context.request)
    if context.view.items_to_items is None:
        return None
    return Nearest("items_to_items", query, "similar" if context.request.vector is None else "vector", "similar")


def rank_popular_with_vector(contexts: Sequence[Context]) -> list[Ranking | None]:
    """Items that have nothing to do with the query follow by popularity."""
    return [popular_items(context.view, partial(_has_vector, context.view)) for context in contexts]


def shortfall(context: Context, sources: Sequence[str]) -> str:
    if context.view.items_to_items is None:
        return "nothing is indexed yet; run `nearfield reindex`"
    return f"no more {'items that pass the filter' if context.view.filtered else 'items'} have a vector"


def never_shows(context: Context) -> Sequence[str]:
    """The items that are searched from."""
    return (*context.request.item_ids, *context.request.unlike)


def _has_vector(view: View, row: int) -> bool:
    return view.vector(row) is not None
