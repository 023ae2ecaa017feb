"""Compiling boosts: the factors and addends of a request by item, from its filters and curves.

Compiled boosts are kept with the view, for all requests that ask for the same boosts, until an item changes. Ages count
to the begin of the current minute, so that a request does not compile them anew.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import numpy.typing as npt

from engine.catalogue.predicate import PREFIX
from engine.deadline import needs_more_work, until_deadline
from engine.errors import InputError, short_repr
from engine.recommending.values.boosts import Boost, Boosts, CurveBoost, FilterBoost
from engine.recommending.values.searcher import Mask
from engine.recommending.values.view import View

DAY_US, MINUTE_US = 86_400e6, 60_000_000
MAX_PRODUCT = 1e12  # of the factors of one item; also its inverse

Numbers = npt.NDArray[np.float64]


def compiled_boosts(view: View, boosts: Boosts, now_us: int) -> Boost | None:
    """None without boosts. `view` has no filter. InputError where factors of an item multiply beyond MAX_PRODUCT."""
    if not boosts:
        return None
    key, of = _key(boosts, now_us)
    return view.kept(key, of, lambda: _compile(view, boosts, now_us // MINUTE_US * MINUTE_US))


def _key(boosts: Boosts, now_us: int) -> tuple[Hashable, tuple[object, ...]]:
    """The key of the cache, and the state for which an entry is valid."""
    return ("boosts", boosts), (now_us // MINUTE_US if boosts.depend_on_time else 0,)


def _compile(view: View, boosts: Boosts, now_us: int) -> Boost:
    needs_more_work()
    factors, addends = np.ones(len(view.items)), np.zeros(len(view.items))
    for boost in until_deadline(boosts, every=1):
        mask = None if boost.predicate is None else view.where(boost.predicate).allowed
        if isinstance(boost, FilterBoost):
            places = slice(None) if mask is None else mask
            if boost.factor != 1:
                factors[places] *= boost.factor
            if boost.add:
                addends[places] += boost.add
        elif boost.adds:
            addends += _curve(view, boost, mask, now_us)
        else:
            factors *= _curve(view, boost, mask, now_us)
    _check_products(view, factors)
    return Boost(
        _read_only(factors.astype(np.float32)), _read_only(addends.astype(np.float32)) if addends.any() else None
    )


def _curve(view: View, boost: CurveBoost, mask: Mask | None, now_us: int) -> Numbers:
    """(n_items,) the y of each item; no effect outside the mask."""
    x = view.numbers(boost.field, is_time=boost.is_age)
    known = ~np.isnan(x)
    if not known.any():
        _reject_field(boost)
    if boost.is_age:
        x = (now_us - x) / DAY_US
    points = np.array(boost.curve, np.float64)
    y = np.where(known, np.interp(x, points[:, 0], points[:, 1]), boost.missing)
    return y if mask is None else np.where(mask, y, 0.0 if boost.adds else 1.0)


def _reject_field(boost: CurveBoost) -> None:
    name, kind = boost.field.removeprefix(PREFIX), "time" if boost.is_age else "number"
    place = "age_of" if boost.is_age else "field"
    raise InputError(f"no item has a {kind} in {short_repr(name)}, which a curve needs", loc=("boost", place))


def _check_products(view: View, factors: Numbers) -> None:
    for row in (int(factors.argmax()), int(factors.argmin())) if len(factors) else ():
        if not 1 / MAX_PRODUCT <= factors[row] <= MAX_PRODUCT:
            raise InputError(
                f"the factors of item {short_repr(view.items.ids[row])} multiply to {factors[row]:.3g}; expected at "
                f"most {MAX_PRODUCT:g} and at least {1 / MAX_PRODUCT:g}, so use fewer or smaller factors",
                loc=("boost",),
            )


def _read_only(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    array.flags.writeable = False
    return array
