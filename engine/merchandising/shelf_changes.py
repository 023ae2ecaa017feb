"""Shelf changes: what a changed preset does to shelves, from the answers to the same requests before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.merchandising.exposure import Catalogue, ExposureBy, by_band, by_category
from engine.recommending.values.answer import Answer

MAX_EXAMPLES = 10
MAX_REASONS = 5


@dataclass(frozen=True, eq=False)
class Answered:
    """One shelf: its answer and the rules that acted on it, or why the request is refused."""

    answer: Answer | None = None
    rules: tuple[str, ...] = ()
    refused: str | None = None

    @property
    def item_ids(self) -> list[str] | None:
        return None if self.answer is None else [hit.item_id for hit in self.answer.hits]


@dataclass(frozen=True, eq=False)
class Compared:
    asked: dict[str, Any]  # the request, as an example shows it
    before: Answered
    after: Answered

    @property
    def is_changed(self) -> bool:
        return self.before.item_ids != self.after.item_ids


def shelf_changes(
    catalogue: Catalogue, shelves: Sequence[Compared], by: ExposureBy, rules: Sequence[str] = ()
) -> dict[str, Any]:
    """Shares and counts of the shelves, as JSON. Requests that are refused before and after count in `refused` only.
    `rules`: for each of them, also count the shelves on which it acts."""
    counted = [each for each in shelves if each.before.answer is not None or each.after.answer is not None]
    changed = [each for each in counted if each.is_changed]
    sides = [[each.before for each in shelves], [each.after for each in shelves]]
    before, after = ([hit.row for each in side if each.answer for hit in each.answer.hits] for side in sides)
    reasons = dict.fromkeys(each.refused for side in reversed(sides) for each in side if each.refused is not None)
    acted = {rule: _both([sum(rule in each.rules for each in side) for side in sides]) for rule in rules}
    return {
        "n_requests": len(counted),
        "n_changed": len(changed),
        "share_changed": len(changed) / len(counted) if counted else 0.0,
        "acted": acted,
        "empty": _both([sum(each.item_ids == [] for each in side) for side in sides]),
        "short": _both([sum(_is_short(each) for each in side) for side in sides]),
        "refused": {
            **_both([sum(each.refused is not None for each in side) for side in sides]),
            "reasons": list(reasons)[:MAX_REASONS],
        },
        "categories": by_category(catalogue, by, before, after),
        "prices": by_band(catalogue, by, before, after),
        "examples": [_example(each) for each in _spread(changed)],
    }


def _both(numbers: Sequence[int]) -> dict[str, int]:
    return {"before": numbers[0], "after": numbers[1]}


def _is_short(shelf: Answered) -> bool:
    """Fewer items than asked for, and not empty."""
    return shelf.answer is not None and shelf.answer.shortfall is not None and bool(shelf.answer.hits)


def _spread(changed: Sequence[Compared]) -> list[Compared]:
    """Ten of all, evenly, as neighbours are often of one visitor."""
    n = min(MAX_EXAMPLES, len(changed))
    return [changed[at * len(changed) // n] for at in range(n)]


def _example(shelf: Compared) -> dict[str, Any]:
    refused = {"refused": shelf.after.refused} if shelf.after.refused is not None else {}
    return {**shelf.asked, "items_before": shelf.before.item_ids, "items_after": shelf.after.item_ids, **refused}
