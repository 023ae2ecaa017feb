"""Shortfall: the reason why a shelf has fewer than k items."""

from __future__ import annotations

from collections.abc import Sequence

from engine.recommending.values.context import Context

COMPLETE = frozenset({"popular", "new", "random"})  # sources that rank every eligible item


def no_more_items(context: Context, sources: Sequence[str]) -> str:
    """`sources`: of the shelf and of its fallback."""
    request = context.request
    is_filtered = context.view.filtered if request.include_items is None else request.predicate is not None
    which = "pass the filter" if is_filtered else "are eligible"
    if request.include_items is not None:
        which = f"in include_items {which}"
    if COMPLETE.intersection(sources):
        return f"no more items {which}"
    found_by = " and ".join(sources)
    return f"no more items of {found_by} {which}; name a source in `fallback`, such as popular, to add other items"
