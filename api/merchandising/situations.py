"""Situations of requests: the seed items are `item_ids` of the request, looked up in the view that answers."""

from __future__ import annotations

from collections.abc import Sequence

from api.messages.shelf_schemas import RecommendQuery, ShelfBody
from engine.merchandising.references import References
from engine.templates.situation import Situation
from indexing.live.view import LiveView


def situation_of(body: ShelfBody | RecommendQuery, view: LiveView, now_us: int) -> Situation:
    return Situation(body.context, now_us, body.item_ids, view.facts)


def references_of(body: ShelfBody | RecommendQuery, view: LiveView, now_us: int) -> References:
    return References(view.presets.segments, situation_of(body, view, now_us))


def references_from(item_ids: Sequence[str], view: LiveView, now_us: int) -> References:
    """For a request without context that starts from these items."""
    return References(view.presets.segments, Situation({}, now_us, item_ids, view.facts))
