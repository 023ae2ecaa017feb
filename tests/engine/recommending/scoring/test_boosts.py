"""Boosted items come in their true order among all eligible items, as a plain Python definition says."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InputError
from engine.recommending.pipeline import recommend
from engine.recommending.scoring.compile_boosts import compiled_boosts
from engine.recommending.sources.new import EVERY
from engine.recommending.values.boosts import Boosts, CurveBoost, FilterBoost
from engine.recommending.values.request import Request
from engine.values.events import Weighting
from tests.engine.recommending.scoring.boosted_views import DAY_US, MAX_ITEMS, NOW_US, boosts, fields_of, some, view_of
from tests.engine.recommending.small_view import SmallView, answer_to
from tests.engine.recommending.test_guarantee import made_view


def defined(score: float, item_id: str, row: int, view: SmallView, boosts: Boosts) -> float:
    """The definition, item by item: all factors, then all addends."""
    factor, addend = 1.0, 0.0
    for boost in boosts:
        if boost.predicate is not None and item_id not in boost.predicate:
            continue
        if isinstance(boost, FilterBoost):
            factor, addend = factor * boost.factor, addend + boost.add
            continue
        [x] = view.fields[boost.field].get(row) or [None]
        if x is None:
            y = boost.missing
        else:
            x = (NOW_US - x) / DAY_US if boost.is_age else x
            y = float(np.interp(x, *zip(*boost.curve, strict=True)))
        factor, addend = (factor, addend + y) if boost.adds else (factor * y, addend)
    return (score * factor if score > 0 else score / factor) + addend


@given(
    seed=st.integers(0, 2**16),
    metric=st.sampled_from(["dot", "cosine"]),
    share=st.sampled_from([1, 0.6]),
    boosts=boosts,
    predicate=st.none() | some,
    out=some,
    k=st.integers(1, 6),
)
def test_the_best_items_by_boosted_score_come_back(seed, metric, share, boosts, predicate, out, k) -> None:
    vectors = np.random.default_rng(seed + 1).normal(size=(MAX_ITEMS + 1, 3)).astype(np.float32)
    view, vector = view_of(seed, share, metric, vectors[1:]), vectors[0]
    asked = Request(vector=vector, k=MAX_ITEMS, predicate=predicate, exclude_items=out, fallback=())
    [every], [best] = (
        recommend(view, [each], weighting=Weighting(), now_us=NOW_US)
        for each in (asked, replace(asked, k=k, boosts=boosts))
    )
    expected = {hit.item_id: defined(hit.score, hit.item_id, hit.row, view, boosts) for hit in every.hits}
    found = {hit.item_id: hit.score for hit in best.hits}
    assert found.keys() <= expected.keys()
    assert found == pytest.approx({id_: expected[id_] for id_ in found}, rel=1e-5, abs=1e-6)
    scores = [hit.score for hit in best.hits]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == min(k, len(expected))
    left_out = [score for id_, score in expected.items() if id_ not in found]
    assert len(scores) < k or max(left_out, default=-np.inf) <= scores[-1] + 1e-5


@given(seed=st.integers(0, 2**16), boosts=boosts, source=st.sampled_from(["popular", "new"]))
def test_items_known_before_the_request_are_in_their_boosted_order_too(seed, boosts, source) -> None:
    view = replace(made_view(seed, MAX_ITEMS, MAX_ITEMS, 1, "dot"), fields=fields_of(seed, MAX_ITEMS))
    [answer] = recommend(
        view, [Request(source=source, k=MAX_ITEMS, boosts=boosts)], weighting=Weighting(), now_us=NOW_US
    )
    plain = {row: float(view.popularity[row]) if source == "popular" else 0.0 for row in range(MAX_ITEMS)}
    for hit in answer.hits:
        assert hit.score == pytest.approx(
            defined(plain[hit.row], hit.item_id, hit.row, view, boosts), rel=1e-5, abs=1e-6
        )
    share = EVERY if source == "new" else MAX_ITEMS + 1  # of the slots, for items that nobody has seen
    scores = [hit.score for slot, hit in enumerate(answer.hits, 1) if slot % share]
    assert scores == sorted(scores, reverse=True)


def test_an_addend_lifts_an_item_that_the_history_says_nothing_about() -> None:
    view = SmallView()
    plain = answer_to(view, vector=np.array([1, 0], np.float32), k=4, fallback=())
    assert [hit.item_id for hit in plain.hits] == ["cup", "mug"]
    lifted = answer_to(
        view,
        vector=np.array([1, 0], np.float32),
        k=3,
        fallback=(),
        boosts=Boosts([FilterBoost(("hat",), 1.0, 1.5)]),
    )
    assert [(hit.item_id, hit.score) for hit in lifted.hits] == [("cup", 2.0), ("hat", 1.5), ("mug", 1.0)]


def test_factors_of_one_item_that_multiply_beyond_the_limit_are_rejected() -> None:
    view = SmallView()
    large = Boosts([FilterBoost(("cup",), 100.0)] * 7)
    with pytest.raises(InputError, match="factors of item 'cup' multiply to 1e\\+14"):
        compiled_boosts(view, Request(boosts=large), 0)
    apart = Boosts([FilterBoost((id_,), 100.0) for id_ in ("cup", "mug", "hat", "cap", "pen", "new")] * 6)
    assert compiled_boosts(view, Request(boosts=apart), 0).factors.tolist() == pytest.approx([1e12] * 6)


def test_a_curve_over_a_field_without_numbers_is_rejected() -> None:
    with pytest.raises(InputError, match="no item has a number in 'weight'") as error:
        compiled_boosts(SmallView(), Request(boosts=Boosts([CurveBoost("attributes.weight", ((0.0, 1.0),))])), 0)
    assert error.value.problems[0].loc == ("boost", 0, "field")
