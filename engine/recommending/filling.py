"""Filling: the fallback of a shelf, one source after the other, continues it until it is full or nothing is left.

A search puts the items about which the model knows nothing between the items that the user likes and the items that
the user dislikes. The sources after it decide their order and their label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property

from engine.recommending.values.answer import Hit
from engine.recommending.values.boosts import Boost
from engine.recommending.values.nearest import Nearest
from engine.recommending.values.ranking import Ranking
from engine.recommending.values.view import View


@dataclass(frozen=True, eq=False)
class Link:
    """One source of a fallback, for one request. It is ranked at its first use: most shelves do not need the last."""

    rank: Callable[[], Ranking | None]
    exclude: Callable[[], AbstractSet[int]]

    @cached_property
    def ranking(self) -> Ranking | None:
        """None: the source knows nothing for this request."""
        return self.rank()

    @cached_property
    def excluded(self) -> AbstractSet[int]:
        """Rows."""
        return self.exclude()


def has_unranked(hits: Sequence[Hit]) -> bool:
    return any(hit.reason == "unranked" for hit in hits)


def fill(
    hits: list[Hit], n: int, links: Sequence[Link], view: View, shown: AbstractSet[int], boost: Boost | None
) -> list[Hit]:
    """Up to `n` hits: each link adds items until there are no more. `shown` are rows that no link may add."""
    for at, link in enumerate(links):
        if len(hits) >= n:
            break
        if link.ranking is None:
            continue
        n_missing, excluded = n - len(hits), link.excluded | shown | {hit.row for hit in hits}
        found = link.ranking.best(view, n_missing, excluded, boost)
        if isinstance(link.ranking, Nearest):
            found = rank_unranked(found, n_missing, links[at + 1 :], view, boost)
        hits = hits + found
    return hits


def rank_unranked(hits: list[Hit], n: int, links: Sequence[Link], view: View, boost: Boost | None) -> list[Hit]:
    """The `n` best hits of a search, with its unranked items in the order of the links after it; items that no link
    ranks are left out.

    Unranked items at the end of a full list are left out too: the search may have more of them, and `fill` chooses
    among all.
    """
    unranked = [at for at, hit in enumerate(hits) if hit.reason == "unranked"]
    if not unranked:
        return hits
    first, last = unranked[0], unranked[-1] + 1
    if last == len(hits) == n:
        return hits[:first]
    return [*hits[:first], *_among(hits[first:last], links, view, boost), *hits[last:]]


def _among(hits: Sequence[Hit], links: Sequence[Link], view: View, boost: Boost | None) -> Iterator[Hit]:
    left = {hit.row for hit in hits}
    for link in links:
        if not left:
            return
        if link.ranking is not None:
            found = link.ranking.among(view, left - link.excluded, boost)
            left.difference_update(hit.row for hit in found)
            yield from found
