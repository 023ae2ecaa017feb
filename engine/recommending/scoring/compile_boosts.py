"""Compiling boosts: the factors and addends of a request by item, from its filters, curves and objective.

Compiled boosts are kept with the view, for all requests that ask for the same, until an item changes. Ages and the
rates of an objective are those at the begin of the current minute, so that not every request compiles them anew.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.catalogue.predicate import PREFIX
from engine.deadline import needs_more_work, until_deadline
from engine.errors import InputError, short_repr
from engine.recommending.scoring.objective import objective_factors
from engine.recommending.values.boosts import Boost, Boosts, CurveBoost, FilterBoost, Rows
from engine.recommending.values.request import Objective, Request
from engine.recommending.values.view import View

DAY_US, MINUTE_US = 86_400e6, 60_000_000
MAX_PRODUCT = 1e12  # of the factors of one item; also its inverse

Numbers = npt.NDArray[np.float64]


def compiled_boosts(view: View, request: Request, now_us: int) -> Boost | None:
    """None without boosts and objective. `view` has no filter. InputError where the factors of an item multiply beyond
    MAX_PRODUCT, and for a field that no item has.
    """
    boosts, objective = request.boosts, request.objective
    if not boosts and objective is None:
        return None
    minute = now_us // MINUTE_US if objective is not None or boosts.depend_on_time else 0
    return view.kept(("boosts", boosts, objective), (minute,), lambda: _compile(view, boosts, objective, now_us))


def _compile(view: View, boosts: Boosts, objective: Objective | None, now_us: int) -> Boost:
    needs_more_work()
    factors, addends = np.ones(len(view.items)), np.zeros(len(view.items))
    for at, boost in until_deadline(enumerate(boosts), every=1):
        factor, addend = effect_on(view, boost, now_us, loc=("boost", at))
        if factor is not None:
            factors *= factor
        if addend is not None:
            addends += addend
    _check_products(view, factors)
    if objective is not None:
        factors *= objective_factors(view, objective)
    has_addends = any(boost.adds if isinstance(boost, CurveBoost) else boost.add for boost in boosts)
    return Boost(_read_only(factors), _read_only(addends) if has_addends else None)


def effect_on(
    view: View,
    boost: FilterBoost | CurveBoost,
    now_us: int,
    rows: Rows | None = None,
    loc: tuple[str | int, ...] = ("boost",),
) -> tuple[Numbers | None, Numbers | None]:
    """(n,) the factors and addends of one boost for these rows, or for all; None: no effect."""
    part = slice(None) if rows is None else rows
    n = len(view.items) if rows is None else len(rows)
    mask = None if boost.predicate is None else view.where(boost.predicate).allowed
    chosen = np.ones(n, bool) if mask is None else mask[part]
    if isinstance(boost, FilterBoost):
        factors = None if boost.factor == 1 else np.where(chosen, boost.factor, 1.0)
        return factors, np.where(chosen, boost.add, 0.0) if boost.add else None
    x = view.kept(("numbers", boost.field, boost.is_age), (), lambda: _numbers(view, boost, loc))[part]
    if boost.is_age:
        x = (now_us // MINUTE_US * MINUTE_US - x) / DAY_US
    points = np.array(boost.curve, np.float64)
    y = np.where(np.isnan(x), boost.missing, np.interp(x, points[:, 0], points[:, 1]))
    y = np.where(chosen, y, 0.0 if boost.adds else 1.0)
    return (None, y) if boost.adds else (y, None)


def _numbers(view: View, boost: CurveBoost, loc: tuple[str | int, ...]) -> Numbers:
    needs_more_work()
    numbers = view.numbers(boost.field, is_time=boost.is_age)
    if np.isnan(numbers).all():
        name, kind = boost.field.removeprefix(PREFIX), "time" if boost.is_age else "number"
        place = "age_of" if boost.is_age else "field"
        raise InputError(f"no item has a {kind} in {short_repr(name)}, which a curve needs", loc=(*loc, place))
    return numbers


def _check_products(view: View, factors: Numbers) -> None:
    for row in (int(factors.argmax()), int(factors.argmin())) if len(factors) else ():
        if not 1 / MAX_PRODUCT <= factors[row] <= MAX_PRODUCT:
            raise InputError(
                f"the factors of item {short_repr(view.items.ids[row])} multiply to {factors[row]:.3g}; expected at "
                f"most {MAX_PRODUCT:g} and at least {1 / MAX_PRODUCT:g}, so use fewer or smaller factors",
                loc=("boost",),
            )


def _read_only(array: Numbers) -> npt.NDArray[np.float32]:
    made = array.astype(np.float32)
    made.flags.writeable = False
    return made
