"""Popular: every item by its popularity, the most popular first."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.recommending.values.answer import Reason
from engine.recommending.values.context import Context
from engine.recommending.values.ordered import Ordered
from engine.recommending.values.ranking import Ranking
from engine.recommending.values.view import View


def popular_items(view: View, admits: Callable[[int], bool] | None = None) -> Ordered:
    return Ordered(view.most_popular, view.popularity, _reason, "popular", admits)


def rank(contexts: Sequence[Context]) -> list[Ranking | None]:
    return [popular_items(context.view) for context in contexts]


def _reason(view: View, row: int, popularity: float) -> Reason:
    """An item that users return or dislike more than they take it is not called popular."""
    if popularity < 0:
        return "unranked"
    return "new" if popularity == 0 and row >= view.n_built else "popular"
