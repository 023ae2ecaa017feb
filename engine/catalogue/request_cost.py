"""Estimated cost of a request before it runs, in approximate nanoseconds of one CPU core (see scripts/LOG.md)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine.catalogue import predicate as predicates
from engine.catalogue.comparable_values import Loc
from engine.catalogue.predicate import Condition, Predicate
from engine.errors import InputError

NUMBER_COST, TEXT_COST, CONTAINS_COST = 2, 20, 60  # per value: compare a number, a text, search a substring
BYTE_COST = 2  # per byte of a substring search in long texts
MASK_COST = 8  # per item: combine masks and search under a mask
CHANGED_ITEM_COST = 1000  # per condition and item that changed since the build
EXHAUSTIVE_COST = 16  # per item: score and boost it
ANSWER_ITEM_COST = 2000  # per item of a response
ADVICE = "ask for fewer shelves at once, share their filters, or use fewer conditions"
DISTANCE_COST = 100  # per vector: compute a distance and sort it


@dataclass(frozen=True)
class RequestSize:
    """The sizes that determine the cost of a request."""

    n_items: int
    n_changed: int  # items changed since the generation was built
    text_bytes: Callable[[str], int] = lambda field: 0  # bytes of all texts of a field

    def max_cost(self, n_conditions: int) -> int:
        """An upper bound of the cost of this many conditions."""
        return n_conditions * (self.n_items * (CONTAINS_COST + MASK_COST) + self.n_changed * CHANGED_ITEM_COST)

    def filter_cost(self, asked: Predicate) -> int:
        tests = list(predicates.conditions(asked))
        return (
            self.n_items * MASK_COST
            + sum(map(self._condition_cost, tests))
            + self.n_changed * len(tests) * CHANGED_ITEM_COST
        )

    def _condition_cost(self, test: Condition) -> int:
        if test.kind != "text":
            return self.n_items * NUMBER_COST
        if test.operator != "contains":
            return self.n_items * TEXT_COST
        return max(self.n_items * CONTAINS_COST, self.text_bytes(test.field) * BYTE_COST)

    def boost_cost(self, n_boosts: int) -> int:
        """The cost of the factors and addends of so many boosts, by item."""
        return self.n_items * MASK_COST * n_boosts

    def exhaustive_cost(self) -> int:
        """The cost of a boosted search that reads every item."""
        return self.n_items * EXHAUSTIVE_COST


def check_cost(cost: int, most: int, loc: Loc, less: str = ADVICE) -> None:
    """Raise InputError if the cost is above `most`; the message advises `less`."""
    if cost > most:
        raise InputError(
            f"this costs about {cost / 1e9:,.1f} s of a core, at most {most / 1e9:,.1f} s are allowed; "
            f"{less} (NEARFIELD_MAX_WORK)",
            loc=loc,
        )
