"""New: every item, the last one added to the catalogue first, with a share of the slots for items nobody has seen.

An item that nobody has seen has no impressions, clicks, carts or purchases. In a catalogue that grows fast, newer items
would hide it before anybody sees it. So the last of every `EVERY` slots is for the newest item not yet seen, as long as
there is one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import count, islice

import numpy as np

from engine.recommending.values.answer import Hit, Reason
from engine.recommending.values.boosts import Boost, Rows
from engine.recommending.values.context import Context
from engine.recommending.values.ordered import Ordered
from engine.recommending.values.ranking import Ranking
from engine.recommending.values.view import View

EVERY = 3


@dataclass(frozen=True, eq=False, slots=True)
class WithShare:
    """Every row, newest first. Addends of boosts order the items of each kind."""

    newest: Rows
    unseen: Rows  # newest first

    def best(self, view: View, n: int, excluded: AbstractSet[int], boost: Boost | None) -> list[Hit]:
        newest, unseen = Ordered(self.newest, None, _reason, "new"), Ordered(self.unseen, None, _reason, "new")
        if boost is not None and boost.addends is not None:
            newest, unseen = _boosted(self.newest, boost), _boosted(self.unseen, boost)
        return list(islice(_merged(newest.hits(view, excluded), unseen.hits(view, excluded)), n))

    def among(self, view: View, rows: Collection[int], boost: Boost | None) -> list[Hit]:
        allowed = np.fromiter(rows, np.int64, len(rows))
        part = WithShare(*(each[np.isin(each, allowed)] for each in (self.newest, self.unseen)))
        return part.best(view, len(rows), frozenset(), boost)


def rank(contexts: Sequence[Context]) -> list[Ranking | None]:
    return [new_items(context.view) for context in contexts]


def new_items(view: View) -> WithShare:
    counts = view.behaviour.counts

    def unseen() -> Rows:
        is_unseen = counts.table.sum(axis=0) == 0
        found: Rows = view.newest[is_unseen[view.newest]]
        return found

    return WithShare(view.newest, view.kept(("unseen", len(view.items)), (counts,), unseen))


def _boosted(rows: Rows, boost: Boost) -> Ordered:
    assert boost.addends is not None
    order = rows[np.argsort(-boost.addends[rows], kind="stable")]
    return Ordered(order, boost.addends, _reason, "new")


def _merged(newest: Iterator[Hit], unseen: Iterator[Hit]) -> Iterator[Hit]:
    """Each item once."""
    shown: set[int] = set()

    def first(hits: Iterator[Hit]) -> Hit | None:
        return next((hit for hit in hits if hit.row not in shown), None)

    for slot in count(1):
        hit = first(unseen) if slot % EVERY == 0 else None
        hit = hit or first(newest)
        if hit is None:
            return
        shown.add(hit.row)
        yield hit


def _reason(view: View, row: int, score: float) -> Reason:
    return "new"
