"""Ruled: requests as the rules of the space change them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from api.merchandising.rule_documents import rules_of
from api.merchandising.situations import situation_of
from api.messages.shelf_schemas import RecommendQuery, ShelfBody
from engine.catalogue.predicate import PREFIX, Condition
from engine.errors import StoreUnavailable
from engine.merchandising.placements import Placement
from engine.merchandising.rules import NO_RULES, AppliedRules, Effect, Members
from engine.recommending.scoring.objective import VALUE_FIELDS
from engine.recommending.values.boosts import Boosts, CurveBoost, FilterBoost
from engine.recommending.values.request import Request
from engine.store import user_facts
from engine.store.database.connections import Database
from indexing.live.view import LiveView

NO_EFFECT = FilterBoost(
    Condition("item_id", "exists", False, "bool")
)  # in place of a boost, so that others keep theirs


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
) -> tuple[Request, AppliedRules]:
    """The request as the rules that act change it. `body` has the parameters of the placement."""
    if placement is not None:
        shelf = without_lost_fields(without_lost_curves(shelf, placement, view), placement, view)
    if not has_rules(view):
        return shelf, NO_RULES
    rules, situation = rules_of(view.presets), situation_of(body, view, now_us)
    name, allowed = (None, None) if placement is None else (placement.name, placement.rules)
    acting = rules.acting(situation, name, allowed, members)
    return rules.apply(shelf, acting, situation, lambda effect: accepts(view, effect), view.filters)


def without_lost_fields(shelf: Request, placement: Placement, view: LiveView) -> Request:
    """A placement that chooses by a field, or whose objective needs a field, that no item has any more keeps serving:
    the score chooses, and the objective has no effect."""
    if shelf.choose_by is not None and "group_by" in placement.parameters and no_numbers(view, shelf.choose_by.field):
        shelf = replace(shelf, choose_by=None)
    field = VALUE_FIELDS.get(shelf.objective or "")
    if field is not None and "objective" in placement.parameters and no_numbers(view, PREFIX + field):
        shelf = replace(shelf, objective=None)
    return shelf


def no_numbers(view: LiveView, field: str) -> bool:
    """Whether no item has a number or a time in the field."""
    return view.kept(
        ("no numbers", field),
        (),
        lambda: all(bool(np.isnan(view.numbers(field, is_time=is_time)).all()) for is_time in (False, True)),
    )


def without_lost_curves(shelf: Request, placement: Placement, view: LiveView) -> Request:
    """A placement whose curve is over a field that no item has any more keeps serving, without the curve."""
    n_placed = len(placement.parameters.get("boost", ()))
    placed = shelf.boosts[:n_placed]
    if not any(isinstance(each, CurveBoost) for each in placed):
        return shelf

    def kept() -> Boosts:
        return Boosts(
            NO_EFFECT if isinstance(each, CurveBoost) and at < n_placed and is_lost(view, each) else each
            for at, each in enumerate(shelf.boosts)
        )

    return replace(shelf, boosts=view.kept(("curves", shelf.boosts, n_placed), (), kept))


def is_lost(view: LiveView, curve: CurveBoost) -> bool:
    return bool(np.isnan(view.numbers(curve.field, is_time=curve.is_age)).all())


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
