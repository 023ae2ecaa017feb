"""Pages: the item that a shelf starts from, titles, and the order of shelves by expected value."""

from __future__ import annotations

import numpy as np
import pytest

from engine.merchandising.pages import Seed, by_expected_value, filled_title, seed_item
from engine.recommending.scoring.objective import objective_factors
from engine.recommending.values.answer import Answer, Hit, Shortfall
from engine.values.event_kinds import Vocabulary
from engine.values.events import History
from tests.engine.recommending.scoring.test_objective import PRICES, ShopView

HISTORY = History(
    ("cup", "hat", "gone", "mug", "cup", "pen"),
    ("view", "view", "view", "purchase", "view", "impression"),
    np.ones(6, np.float32),
    np.array([1, 3, 9, 5, 6, 7], np.int64),
)


@pytest.mark.parametrize(
    ("seed", "item_id"),
    [
        (Seed("view"), "cup"),
        (Seed("view", 2), "hat"),
        (Seed("view", 3), None),
        (Seed("purchase"), "mug"),
        (Seed(), "cup"),
        (Seed(nth=2), "mug"),
        (Seed("impression"), "pen"),
        (Seed("cart"), None),
    ],
)
def test_a_seed_is_the_nth_newest_item_of_the_catalogue_with_an_event_of_the_kind(
    seed: Seed, item_id: str | None
) -> None:
    assert seed_item(seed, HISTORY, ShopView(), Vocabulary({"view": 1.0, "purchase": 5.0}, 1.0)) == item_id


def test_a_title_shows_the_values_of_its_item_and_the_id_for_a_missing_one() -> None:
    values = {"item_id": "x1", "title": "Red hat", "sizes": ["S", "M"], "empty": [], "none": None}
    assert filled_title("For {title} in {sizes}", values) == "For Red hat in S, M"
    assert filled_title("{empty}, {none}, {unknown}", values) == "x1, x1, x1"
    assert filled_title(None, values) is None


def test_shelves_are_ordered_by_the_mean_expected_value_of_their_slots() -> None:
    view = ShopView(fields=PRICES)
    rows = [[0, 2], [1], [3], []]
    asked = [2, 4, 1, 3]
    answers = [
        Answer(
            tuple(Hit(f"i{row}", row, 1.0, "history", "for_you") for row in each),
            Shortfall(k, len(each), "") if len(each) < k else None,
        )
        for each, k in zip(rows, asked, strict=True)
    ]
    for objective in ("clicks", "purchases", "revenue"):
        factors = objective_factors(view, objective)
        values = [sum(factors[row] for row in each) / k for each, k in zip(rows, asked, strict=True)]
        order = by_expected_value(view, answers, objective, 0)
        assert order == sorted(range(4), key=lambda at: -values[at])
        assert order[-1] == 3, "a shelf without items has no value"
