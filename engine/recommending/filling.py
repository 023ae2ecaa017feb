"""Filling: the fallback of a shelf, one source after the other, continues it until it is full or nothing is left.

A search puts the items about which the model knows nothing between the items that the user likes and the items that
the user dislikes. The sources after it decide their order and their label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property

from engine.deadline import check_deadline, needs_more_work
from engine.recommending.values.answer import Hit
from engine.recommending.values.boosts import Boost
from engine.recommending.values.nearest import Nearest
from engine.recommending.values.ranking import Ranking
from engine.recommending.values.view import View

WIDEN = 4  # a search that has not found enough gets so many times the width
ROUNDS = 3  # reads of a link before the search widens


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
            found = Unranked(link.ranking, excluded, links[at + 1 :], view, boost).placed(found, n_missing)
        hits = hits + found
    return hits


@dataclass(frozen=True, eq=False, slots=True)
class Unranked:
    """The unranked items of a search, in the order of the links after it; items that no link ranks are left out."""

    search: Nearest
    excluded: AbstractSet[int]  # rows
    links: Sequence[Link]
    view: View
    boost: Boost | None

    def placed(self, hits: list[Hit], n: int) -> list[Hit]:
        """The `n` best hits, from `hits`, which are the `n` best of the search.

        If they end with unranked items, the search may have many more of these, and the first ones of the links are
        looked for instead. If the links rank too few, the items that the user dislikes follow.
        """
        width = n
        while has_unranked(hits):
            at = [place for place, hit in enumerate(hits) if hit.reason == "unranked"]
            first, last, is_all = at[0], at[-1] + 1, len(hits) < width
            if last < len(hits) or is_all:
                found = [*hits[:first], *self._among(hits[first:last]), *hits[last:]]
            else:
                of_links, is_all = self._first(hits[:first], n - first, 2 * width)
                found = [*hits[:first], *of_links]
                if is_all and len(found) < n:
                    needs_more_work()
                    found += self.search.known(self.view, self.excluded, self.boost)[first:]
            if is_all or len(found) >= n:
                return found[:n]
            check_deadline()
            needs_more_work()
            width *= WIDEN
            hits = self.search.best(self.view, width, self.excluded, self.boost)
        return hits[:n]

    def _first(self, liked: Sequence[Hit], n: int, width: int) -> tuple[list[Hit], bool]:
        """Up to `n` unranked items from the first `width` items of each link, and whether the links have no more."""
        found: list[Hit] = []
        for link in self.links:
            if link.ranking is not None:
                without = {*self.excluded, *link.excluded, *(hit.row for hit in (*liked, *found))}
                of_link, is_all = self._first_of(link.ranking, n - len(found), width, without)
                found += of_link
                if not is_all:
                    return found, False
        return found, True

    def _first_of(self, ranking: Ranking, n: int, width: int, without: set[int]) -> tuple[list[Hit], bool]:
        """Up to `n` unranked items of one link, and whether these are all.

        Other items are excluded and the link is read again, because what it shows may depend on what it showed before.
        """
        for _ in range(ROUNDS):
            read = ranking.best(self.view, width, without, self.boost)
            rows = self.search.unranked(self.view, [hit.row for hit in read], self.boost)
            if isinstance(ranking, Nearest):
                rows = [hit.row for hit in ranking.among(self.view, rows, self.boost)]
            unranked = set(rows)
            others = [at for at, hit in enumerate(read) if hit.row not in unranked]
            n_found = others[0] if others else len(read)
            if n_found >= n:
                return read[:n], False
            if not others and len(read) < width:
                return read, True
            without |= {read[at].row for at in others}
        return [], False

    def _among(self, unranked: Sequence[Hit]) -> Iterator[Hit]:
        left = {hit.row for hit in unranked}
        for link in self.links:
            if not left:
                return
            if link.ranking is not None:
                found = link.ranking.among(self.view, left - link.excluded, self.boost)
                left.difference_update(hit.row for hit in found)
                yield from found
