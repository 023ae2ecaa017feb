"""Fallback: the ranking that continues a shelf, as the request's `fill_with` says, and the reason of a short shelf."""

from __future__ import annotations

from engine.recommending.sources.new import new_items
from engine.recommending.sources.popular import popular_items
from engine.recommending.values.context import Context
from engine.recommending.values.ordered import Ordered


def requested_fallback(context: Context) -> Ordered | None:
    fill_with = context.request.fill_with
    if fill_with == "none":
        return None
    return popular_items(context.view) if fill_with == "popular" else new_items(context.view)


def no_fallback(context: Context) -> None:
    return None


def no_more_items(context: Context) -> str:
    which = "pass the filter" if context.view.filtered else "are eligible"
    if context.request.fill_with != "none":
        return f"no more items {which}"
    return f"no more items that a search finds {which}, and fill is none"
