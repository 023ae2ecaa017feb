"""Objective: the expected value of showing an item, from the rates of the shop, as a factor of its score.

    clicks     clicks per impression
    purchases  clicks per impression x purchases per click
    revenue    purchases x `price`
    margin     purchases x `margin`

The score stands for how well the item suits the user, the factor for how an item that suits does in this shop: a
factor of 1 is an item with the rates of the whole shop and the median price. A rate is shrunk towards the rate of all
items, (n + m x rate of all) / (exposures + m), because few exposures say little. The data choose m: it is the rate of
all over the variance of the true rates between items (a gamma prior fitted by moments, as DerSimonian and Laird, 1986,
fit a variance between studies), so that items that hardly differ get the rate of all. Where the shop sends no
impressions, or has no clicks, that rate is the same for all items.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.catalogue.predicate import PREFIX
from engine.errors import InputError
from engine.recommending.values.request import Objective
from engine.recommending.values.view import View

VALUE_FIELDS = {"revenue": "price", "margin": "margin"}  # the number of an item that a purchase brings
SMALLEST = 1e-6  # of a factor; its inverse is the largest

Numbers = npt.NDArray[np.float64]


def objective_factors(view: View, objective: Objective) -> Numbers:
    """(len(items),), above 0. InputError where no item has the field that the objective needs."""
    counts = view.behaviour.counts
    factors = relative_rates(counts.clicks, counts.impressions)
    if objective != "clicks":
        factors = factors * relative_rates(counts.purchases, counts.clicks)
    if objective in VALUE_FIELDS:
        factors = factors * _relative_values(view, VALUE_FIELDS[objective])
    return np.clip(factors, SMALLEST, 1 / SMALLEST)


def events_without(view: View, objective: Objective) -> list[str]:
    """The kinds of events that the rates of an objective need and the shop has none of; without one of them, the rate
    is the same for all items."""
    counts = view.behaviour.counts

    def find() -> list[str]:
        by_name = {"impressions": counts.impressions, "clicks": counts.clicks, "purchases": counts.purchases}
        return [name for name, of_items in by_name.items() if not of_items.any()]

    missing = view.kept("kinds of events without any", (counts,), find)
    return [name for name in missing if name != "purchases" or objective != "clicks"]


def relative_rates(successes: Numbers, exposures: Numbers) -> Numbers:
    """(n,) the shrunk rate of each item over the rate of all; 1 where nothing is known."""
    found = rate_prior(successes, exposures)
    if found is None:
        return np.ones(len(exposures))
    rate, prior = found
    kept = np.where(exposures > 0, successes, 0.0)  # successes without an exposure came from elsewhere
    return np.asarray((kept + prior * rate) / (exposures + prior) / rate)


def rate_prior(successes: Numbers, exposures: Numbers) -> tuple[float, float] | None:
    """The rate of all items, and how many exposures it is worth; None where items do not differ beyond chance."""
    exposed = exposures > 0
    total, n = float(exposures[exposed].sum()), int(exposed.sum())
    rate = float(successes[exposed].sum()) / total if total else 0.0
    if rate == 0 or n < 2:
        return None
    rates = successes[exposed] / exposures[exposed]
    squares = float((exposures[exposed] * (rates - rate) ** 2).sum())
    spread = total - float((exposures[exposed] ** 2).sum()) / total
    variance = (squares - (n - 1) * rate) / spread if spread > 0 else 0.0
    return (rate, rate / variance) if variance > 0 else None


def _relative_values(view: View, field: str) -> Numbers:
    """(len(items),) the number of each item over the median; 1 for an item without one."""
    values = view.numbers(PREFIX + field)
    known = values[~np.isnan(values)]
    if not len(known):
        objective = next(name for name, needed in VALUE_FIELDS.items() if needed == field)
        raise InputError(f"the objective {objective} needs a number {field!r}, which no item has", loc=("objective",))
    positive = known[known > 0]
    median = float(np.median(positive)) if len(positive) else 1.0
    return np.where(np.isnan(values), 1.0, np.maximum(values, 0) / median)
