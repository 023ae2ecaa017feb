"""Pages: the shelves of one page of a shop, their titles and the items or values that they start from.

A shelf with a `seed` starts from an item that its visitor did something with, and a shelf with `best` shows the value
of a field, such as a brand, that suits the visitor best. A title names it: "Because you viewed {title}", "More of
{value}".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.recommending.scoring.compile_boosts import compiled_boosts
from engine.recommending.values.answer import Answer
from engine.recommending.values.request import Objective, Request
from engine.recommending.values.view import View
from engine.values.event_kinds import Vocabulary
from engine.values.events import History

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Seed:
    """The `nth` newest item of a visitor with an event of this kind; of any kind but impressions for None."""

    kind: str | None = None
    nth: int = 1


@dataclass(frozen=True)
class Best:
    """The `nth` best value of a field for a visitor."""

    field: str  # as `Condition.field` names it
    name: str  # as the document names it
    nth: int = 1


@dataclass(frozen=True, eq=False)
class PageShelf:
    name: str
    placement: str | None
    parameters: Mapping[str, Any]  # of `recommend`, valid and parsed
    title: str | None = None
    seed: Seed | None = None
    best: Best | None = None


@dataclass(frozen=True, eq=False)
class Page:
    name: str
    version: int
    shelves: tuple[PageShelf, ...]
    distinct: bool = True
    order: Objective | None = None  # None: as the document lists them


def placements_in(page: object) -> set[str]:
    """The placements that the document of a page shows."""
    shelves = page.get("shelves", []) if isinstance(page, Mapping) else []
    return {str(each["placement"]) for each in shelves if isinstance(each, Mapping) and each.get("placement")}


def seed_item(seed: Seed, history: History, view: View, vocabulary: Vocabulary) -> str | None:
    """None when the history has no such item that is in the catalogue."""
    wanted = None if seed.kind is None else vocabulary.meaning(seed.kind).kind
    found: dict[str, None] = {}
    for at in np.argsort(-history.occurred_us, kind="stable").tolist():
        kind, item_id = vocabulary.meaning(history.kinds[at]).kind, history.item_ids[at]
        is_wanted = kind != "impression" if seed.kind is None else kind == wanted
        if is_wanted and item_id not in found and view.items.row(item_id) is not None:
            found[item_id] = None
            if len(found) == seed.nth:
                return item_id
    return None


def placeholders(title: str) -> list[str]:
    return PLACEHOLDER.findall(title)


def filled_title(title: str | None, values: Mapping[str, object]) -> str | None:
    """The title with the values of its placeholders; without the value of one, the placeholder is the item id."""

    def text(found: re.Match[str]) -> str:
        value = values.get(found[1])
        value = values.get("item_id", "") if value is None or value == [] else value
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value)

    return None if title is None else PLACEHOLDER.sub(text, title)


def by_expected_value(view: View, answers: Sequence[Answer], objective: Objective, now_us: int) -> list[int]:
    """The places of the shelves, the highest expected value of a slot first; an empty slot has none."""
    boost = compiled_boosts(view, Request(objective=objective), now_us)
    assert boost is not None
    factors = boost.factors
    means = [
        float(sum(factors[hit.row] for hit in answer.hits if hit.row >= 0)) / max(1, _slots(answer))
        for answer in answers
    ]
    return sorted(range(len(answers)), key=lambda at: -means[at])


def _slots(answer: Answer) -> int:
    return len(answer.hits) if answer.shortfall is None else answer.shortfall.requested
