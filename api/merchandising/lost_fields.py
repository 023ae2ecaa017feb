"""Lost fields: a stored placement or page that refers to a field that no item has any more keeps serving.

A curve over such a field and an objective that needs it have no effect, of a group the score chooses, and the shelves
of a page come as listed. A shelf has a warning for each. In a request of its own, the same is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from engine.catalogue.predicate import PREFIX, Condition
from engine.recommending.scoring.objective import VALUE_FIELDS
from engine.recommending.values.boosts import Boosts, CurveBoost, FilterBoost
from engine.recommending.values.request import Objective, Request
from indexing.live.view import LiveView

NO_EFFECT = FilterBoost(  # in place of a lost curve, so that the other boosts keep their places
    Condition("item_id", "exists", False, "bool")
)


def without_lost_fields(shelf: Request, view: LiveView, *stored: Mapping[str, Any]) -> Request:
    """The request without what needs a lost field, as far as it is of `stored`: the parameters of the placement, and
    of the shelf of a page. Their boosts are the first of the request."""
    shelf = _without_lost_curves(shelf, view, sum(len(each.get("boost", ())) for each in stored))
    if shelf.choose_by is not None and _sets("group_by", stored) and no_numbers(view, shelf.choose_by.field):
        shelf = replace(shelf, choose_by=None)
    if shelf.objective is not None and _sets("objective", stored) and is_objective_lost(view, shelf.objective):
        shelf = replace(shelf, objective=None)
    return shelf


def is_objective_lost(view: LiveView, objective: Objective) -> bool:
    """Whether no item has the number that the objective needs."""
    field = VALUE_FIELDS.get(objective)
    return field is not None and no_numbers(view, PREFIX + field)


def no_numbers(view: LiveView, field: str) -> bool:
    """Whether no item has a number or a time in the field."""
    return view.kept(
        ("no numbers", field),
        (),
        lambda: all(bool(np.isnan(view.numbers(field, is_time=is_time)).all()) for is_time in (False, True)),
    )


def is_lost(view: LiveView, curve: CurveBoost) -> bool:
    return bool(np.isnan(view.numbers(curve.field, is_time=curve.is_age)).all())


def _sets(name: str, stored: tuple[Mapping[str, Any], ...]) -> bool:
    return any(name in each for each in stored)


def _without_lost_curves(shelf: Request, view: LiveView, n_stored: int) -> Request:
    if not any(isinstance(each, CurveBoost) for each in shelf.boosts[:n_stored]):
        return shelf

    def kept() -> Boosts:
        return Boosts(
            NO_EFFECT if isinstance(each, CurveBoost) and at < n_stored and is_lost(view, each) else each
            for at, each in enumerate(shelf.boosts)
        )

    return replace(shelf, boosts=view.kept(("curves", shelf.boosts, n_stored), (), kept))
