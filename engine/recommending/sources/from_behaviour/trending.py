"""Trending: the items that users take up now more than before, by `view.behaviour.trending`."""

from __future__ import annotations

from collections.abc import Sequence

from engine.recommending.values.answer import Reason
from engine.recommending.values.context import Context
from engine.recommending.values.ordered import Ordered
from engine.recommending.values.ranking import Ranking
from engine.recommending.values.view import View


def rank(contexts: Sequence[Context]) -> list[Ranking | None]:
    return [_ranking(context.view) for context in contexts]


def _ranking(view: View) -> Ranking:
    trends = view.behaviour.trending
    return Ordered(trends.rising, trends.scores, _reason, "trending")


def _reason(view: View, row: int, score: float) -> Reason:
    return "trending"
