"""Similar: the items nearest to some items, or to a vector, by cosine. Only items that have a vector are shown."""

from __future__ import annotations

from collections.abc import Sequence

from engine.recommending.sources.popular import popular_items
from engine.recommending.values.context import Context
from engine.recommending.values.nearest import Nearest
from engine.recommending.values.ordered import Ordered
from engine.recommending.values.ranking import Ranking
from engine.recommending.values.request import Request
from engine.recommending.vectors.query_vectors import query_vector


def rank(contexts: Sequence[Context]) -> list[Ranking | None]:
    return [_ranking(context) for context in contexts]


def _ranking(context: Context) -> Ranking | None:
    query = query_vector(context.view, context.request)
    if context.view.items_to_items is None:
        return None
    return Nearest("items_to_items", query, "similar" if context.request.vector is None else "vector")


def rank_from_items(contexts: Sequence[Context]) -> list[Ranking | None]:
    """As `rank`, for shelves: None where no item of the request has a vector, so that the fallback fills the shelf."""
    return [_ranking(context) if _has_vector(context) else None for context in contexts]


def _has_vector(context: Context) -> bool:
    view = context.view
    rows = (view.items.row(id_) for id_ in context.request.item_ids)
    return any(row is not None and view.similarity_vector(row) is not None for row in rows)


def fallback(context: Context) -> Ordered:
    """Items that have nothing to do with the query follow by popularity."""
    view = context.view
    return popular_items(view, lambda row: view.vector(row) is not None)


def shortfall(context: Context) -> str:
    if context.view.items_to_items is None:
        return "nothing is indexed yet; run `nearfield reindex`"
    return f"no more {'items that pass the filter' if context.view.filtered else 'items'} have a vector"


def never_shows(request: Request) -> Sequence[str]:
    """The items that are searched from."""
    return (*request.item_ids, *request.unlike)
