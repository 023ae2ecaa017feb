"""Similar items of other categories: those nearest to the seeds that share no category with any seed.

`bought_together` continues with them: items of the same category replace each other, items of others complement them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from engine.catalogue.item_values import NO_VALUES, Values
from engine.recommending.sources.similar import similar_items
from engine.recommending.values.answer import Hit
from engine.recommending.values.boosts import Boost
from engine.recommending.values.context import Context
from engine.recommending.values.nearest import Nearest
from engine.recommending.values.ranking import Ranking
from engine.recommending.values.view import View
from engine.recommending.vectors.seeds import seeds

FIELD = "categories"


@dataclass(frozen=True, eq=False, slots=True)
class OfOtherCategories:
    """The items of `nearest` with a score above 0 and without these categories."""

    nearest: Nearest
    categories: Values

    def best(self, view: View, n: int, excluded: AbstractSet[int], boost: Boost | None) -> list[Hit]:
        others = view.without_values(FIELD, self.categories)
        return _positive(self.nearest.best(others, n, excluded, boost))

    def among(self, view: View, rows: Collection[int], boost: Boost | None) -> list[Hit]:
        rows = list(rows)
        values = view.field_values(FIELD, rows)
        others = [row for row, each in zip(rows, values, strict=True) if not each & self.categories]
        return _positive(self.nearest.among(view, others, boost))


def rank(contexts: Sequence[Context]) -> list[Ranking | None]:
    """None for a request whose seeds have no vectors or no categories."""
    return [_ranking(context) for context in contexts]


def _ranking(context: Context) -> Ranking | None:
    view, nearest = context.view, similar_items(context)
    rows = [row for id_ in seeds(context).item_ids if (row := view.items.row(id_)) is not None]
    categories = NO_VALUES.union(*view.field_values(FIELD, rows))
    return OfOtherCategories(nearest, categories) if nearest is not None and categories else None


def _positive(hits: list[Hit]) -> list[Hit]:
    return [hit for hit in hits if hit.score > 0]
