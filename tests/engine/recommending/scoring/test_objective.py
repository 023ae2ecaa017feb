"""The objective multiplies scores by the expected value of an item, with rates shrunk by what the data say."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from engine.errors import InputError
from engine.recommending.pipeline import recommend
from engine.recommending.scoring.objective import SMALLEST, events_without, objective_factors, relative_rates
from engine.recommending.values.boosts import Boosts, FilterBoost
from engine.recommending.values.request import Request
from engine.values.events import Weighting
from tests.engine.recommending.small_view import SmallView, answer_to, history

COUNTS = SimpleNamespace(
    impressions=np.array([1e4, 1e4, 1e4, 1e4, 10, 0]),
    clicks=np.array([1000, 2000, 1000, 1000, 9, 0.0]),
    carts=np.zeros(6),
    purchases=np.array([400, 20, 100, 100, 0, 0.0]),
)


@dataclass(frozen=True, eq=False)
class ShopView(SmallView):
    """With counts for cup, mug, hat, cap, pen and new."""

    behaviour: Any = field(default_factory=lambda: SimpleNamespace(counts=COUNTS))


PRICES = {"attributes.price": {0: frozenset([10.0]), 1: frozenset([1000.0]), 2: frozenset([20.0]), 3: frozenset([0])}}


def test_events_that_the_shop_has_none_of_are_named() -> None:
    none, some = np.zeros(6), COUNTS.clicks
    assert events_without(ShopView(), "revenue") == []
    for counts, objective, missing in (
        ({"impressions": none, "clicks": some, "purchases": none}, "clicks", ["impressions"]),
        ({"impressions": none, "clicks": some, "purchases": none}, "margin", ["impressions", "purchases"]),
    ):
        view = ShopView(behaviour=SimpleNamespace(counts=SimpleNamespace(**counts)))
        assert events_without(view, objective) == missing


def test_items_that_hardly_differ_and_items_never_shown_have_the_rate_of_all() -> None:
    assert relative_rates(np.array([10.0, 20, 0]), np.array([100.0, 200, 0])).tolist() == [1, 1, 1]
    assert relative_rates(np.array([1.0, 1, 2]), np.array([20.0, 21, 19])).tolist() == [1, 1, 1], (
        "chance explains these"
    )
    assert relative_rates(np.zeros(3), np.array([5.0, 5, 0])).tolist() == [1, 1, 1]
    assert relative_rates(np.array([3.0, 4, 5]), np.zeros(3)).tolist() == [1, 1, 1]


def test_a_thin_item_moves_less_from_the_rate_of_all_than_an_item_with_many_exposures() -> None:
    exposures = np.array([10_000.0, 10_000, 10_000, 10])
    rates = relative_rates(np.array([500.0, 1000, 1500, 10]), exposures)
    assert rates[:3] == pytest.approx([0.5, 1, 1.5], rel=0.02)
    assert 1 < rates[3] < 4, "ten clicks of ten are a raw rate of ten times that of all"


def test_shrunk_rates_are_nearer_to_the_true_ones_than_raw_rates_and_than_one_rate() -> None:
    draw = np.random.default_rng(0)
    true = draw.gamma(2.0, 0.02, 4000)
    exposures = np.ceil(draw.pareto(1.0, 4000) * 10)
    successes = draw.poisson(true * exposures).astype(float)
    shrunk = relative_rates(successes, exposures) * successes.sum() / exposures.sum()

    def error(rates: np.ndarray) -> float:
        return float(np.mean((rates - true) ** 2))

    assert error(shrunk) < 0.9 * error(np.full(4000, true.mean()))
    assert error(shrunk) < 0.5 * error(successes / exposures)


def test_each_objective_orders_by_its_own_value() -> None:
    view = ShopView(fields=PRICES)
    clicks, purchases, revenue = (objective_factors(view, each) for each in ("clicks", "purchases", "revenue"))
    assert clicks[1] > clicks[0] == pytest.approx(clicks[2])
    assert purchases[0] > purchases[2] > purchases[1]
    assert revenue[1] > revenue[0], "few purchases at a hundred times the price"
    assert revenue[3] == SMALLEST, "an item that costs nothing"
    assert revenue[4] == pytest.approx(purchases[4]), "an item without a price has the median price"


def test_scores_are_multiplied_by_the_objective_among_all_items_and_explained() -> None:
    view = ShopView(fields=PRICES)
    asked = Request(history=history("cup", "hat"), k=3, objective="revenue", explain=1)
    [answer] = recommend(view, [asked], weighting=Weighting(repeat="binary"), now_us=0)
    plain = answer_to(view, history=history("cup", "hat"), k=4)
    factors = objective_factors(view, "revenue")
    expected = {hit.item_id: hit.score * factors[hit.row] for hit in plain.hits}
    best = sorted(expected, key=lambda id_: -expected[id_])[:3]
    assert [hit.item_id for hit in answer.hits] == best
    assert [hit.item_id for hit in plain.hits][:3] != best
    for hit in answer.hits:
        assert hit.score == pytest.approx(expected[hit.item_id], rel=1e-5)
        assert [part.name for part in answer.parts[hit.item_id]] == ["base", "objective"]
        assert sum(part.adds for part in answer.parts[hit.item_id]) == pytest.approx(hit.score, rel=1e-5)


def test_a_boost_acts_beside_the_objective() -> None:
    view = ShopView(fields=PRICES)
    asked = Request(history=history("cup"), k=2, objective="clicks", boosts=Boosts([FilterBoost(("mug",), 100.0)]))
    [answer] = recommend(view, [replace(asked, explain=1)], weighting=Weighting(repeat="binary"), now_us=0)
    assert answer.hits[0].item_id == "mug"
    assert [part.name for part in answer.parts["mug"]] == ["base", "boost", "objective"]
    assert sum(part.adds for part in answer.parts["mug"]) == pytest.approx(answer.hits[0].score, rel=1e-5)


def test_an_objective_whose_field_no_item_has_is_rejected() -> None:
    with pytest.raises(InputError, match="the objective margin needs a number 'margin', which no item has") as error:
        objective_factors(ShopView(fields=PRICES), "margin")
    assert error.value.problems[0].loc == ("objective",)
