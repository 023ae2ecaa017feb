"""Ruled: requests as the rules of the space change them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from api.merchandising.lost_fields import is_lost, without_lost_fields
from api.merchandising.rule_documents import rules_of
from api.merchandising.situations import situation_of
from api.messages.shelf_schemas import RecommendQuery, ShelfBody
from engine.errors import StoreUnavailable
from engine.merchandising.placements import Placement
from engine.merchandising.rules import NO_RULES, AppliedRules, Effect, Members
from engine.recommending.values.boosts import CurveBoost
from engine.recommending.values.request import Request
from engine.store import user_facts
from engine.store.database.connections import Database
from indexing.live.view import LiveView

NOTHING: Mapping[str, Any] = {}


class NeedsMembers(Exception):
    """A rule asks for the segments of the user, which PostgreSQL knows."""


def has_rules(view: LiveView) -> bool:
    return bool(view.presets.rules)


def ask_later() -> frozenset[str]:
    raise NeedsMembers


def with_rules(
    shelf: Request,
    body: ShelfBody | RecommendQuery,
    placement: Placement | None,
    view: LiveView,
    now_us: int,
    members: Members,
    of_page: Mapping[str, Any] = NOTHING,
) -> tuple[Request, AppliedRules]:
    """The request as the rules that act change it. `body` has the parameters of the placement, `of_page` are the
    parameters of the shelf of a page."""
    if placement is not None or of_page:
        shelf = without_lost_fields(shelf, view, NOTHING if placement is None else placement.parameters, of_page)
    if not has_rules(view):
        return shelf, NO_RULES
    rules, situation = rules_of(view.presets), situation_of(body, view, now_us)
    name, allowed = (None, None) if placement is None else (placement.name, placement.rules)
    acting = rules.acting(situation, name, allowed, members)
    return rules.apply(shelf, acting, situation, lambda effect: accepts(view, effect), view.filters)


def accepts(view: LiveView, effect: Effect) -> bool:
    """Whether the catalogue has values that an effect can compare with; a field that no item has is no obstacle to
    filters, but to curves."""
    return all(view.filters.accepts(each, view.changed) for each in effect.predicates) and not any(
        is_lost(view, each) for each in effect.boosts if isinstance(each, CurveBoost)
    )


def of_segments(shelf: Request) -> str | None:
    """The user whose segments rules may ask for; nobody, if only the events of a session may be read."""
    return shelf.user_id if shelf.session_id is None else None


def members_of(user_id: str | None, view: LiveView, database: Database, now_us: int) -> Members:
    """Reads the segments that rules ask for once; a request without a user, or without PostgreSQL, is in none of
    them."""

    def read() -> frozenset[str]:
        segments, names = view.presets.segments, rules_of(view.presets).segments
        filters = {name: segments.users[name] for name in names if name in segments.users}
        if user_id is None or not filters:
            return frozenset()
        lists = frozenset(each for filter_ in filters.values() for each in filter_.lists)
        try:
            with database.connect() as conn:
                facts = user_facts.of_user(conn, view.space.key, user_id, view.space.weighting.vocabulary, lists)
        except StoreUnavailable:
            return frozenset()
        return frozenset(name for name, filter_ in filters.items() if filter_.matches(facts, now_us))

    return cache(read)
