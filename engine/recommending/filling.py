"""Filling: the fallback continues a shelf, and orders the items about which a search says nothing.

A search puts these between the items that the user likes and the items that the user dislikes. The model knows nothing
about them, so the fallback decides their order and their label.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from engine.recommending.values.answer import Hit
from engine.recommending.values.boosts import Boost
from engine.recommending.values.ordered import Ordered
from engine.recommending.values.view import View


def has_unranked(hits: Sequence[Hit]) -> bool:
    return any(hit.reason == "unranked" for hit in hits)


def rank_unranked(hits: list[Hit], n: int, fallback: Ordered | None, view: View, boost: Boost | None) -> list[Hit]:
    """The `n` best hits of a search, with its unranked items in the order of the fallback; without one they are left
    out.

    Unranked items at the end of a full list are left out too: the search may have more of them, and `fill` chooses
    among all.
    """
    unranked = [at for at, hit in enumerate(hits) if hit.reason == "unranked"]
    if not unranked:
        return hits
    first, last = unranked[0], unranked[-1] + 1
    if last == len(hits) == n:
        return hits[:first]
    ranked = [] if fallback is None else fallback.among(view, [hit.row for hit in hits[first:last]], boost)
    return [*hits[:first], *ranked, *hits[last:]]


def fill(
    hits: list[Hit],
    n: int,
    fallback: Ordered | None,
    view: View,
    excluded: AbstractSet[int],
    boost: Boost | None,
) -> list[Hit]:
    """Up to `n` hits: the fallback adds eligible items until there are no more."""
    if len(hits) >= n or fallback is None:
        return hits
    return hits + fallback.best(view, n - len(hits), excluded | {hit.row for hit in hits}, boost)
