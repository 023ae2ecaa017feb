"""Shortfall: the reason why a shelf has fewer than k items."""

from __future__ import annotations

from collections.abc import Sequence

from engine.recommending.values.context import Context

COMPLETE = frozenset({"popular", "new", "random"})  # sources that rank every eligible item


def no_more_items(context: Context, sources: Sequence[str]) -> str:
    """`sources`: of the shelf and of its fallback."""
    which = "pass the filter" if context.view.filtered else "are eligible"
    if COMPLETE.intersection(sources):
        return f"no more items {which}"
    found_by = " and ".join(sources)
    return f"no more items of {found_by} {which}; name a source in `fallback`, such as popular, to add other items"
