"""The parts of an explained score sum to the score."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.recommending.pipeline import recommend
from engine.recommending.values.boosts import Boosts, FilterBoost
from engine.recommending.values.request import Request
from engine.values.events import Weighting
from tests.engine.recommending.scoring.boosted_views import MAX_ITEMS, NOW_US, boosts, view_of
from tests.engine.recommending.small_view import SmallView, answer_to, history


@given(
    seed=st.integers(0, 2**16),
    metric=st.sampled_from(["dot", "cosine"]),
    boosts=boosts | st.just(Boosts()),
    source=st.sampled_from(["for_you", "popular", "new", "given_items"]),
)
def test_parts_sum_to_the_score_whatever_the_source_and_the_boosts(seed, metric, boosts, source) -> None:
    vectors = np.random.default_rng(seed).normal(size=(MAX_ITEMS, 3)).astype(np.float32)
    view = view_of(seed, 1, metric, vectors)
    asked = Request(source, 6, history=history("i0", "i3"), item_ids=["i1", "i2", "nobody"], boosts=boosts, explain=2)
    [answer] = recommend(view, [asked], weighting=Weighting(), now_us=NOW_US)
    [plain] = recommend(view, [replace(asked, boosts=Boosts(), k=MAX_ITEMS)], weighting=Weighting(), now_us=NOW_US)
    unboosted = {hit.item_id: hit.score for hit in plain.hits}
    for hit in answer.hits:
        parts = answer.parts[hit.item_id]
        assert sum(part.adds for part in parts) == pytest.approx(hit.score, rel=1e-5, abs=1e-5)
        assert parts[0].name == "base"
        if hit.item_id in unboosted and hit.reason == "history":
            assert parts[0].adds == pytest.approx(unboosted[hit.item_id], rel=1e-4, abs=1e-4)


def test_each_boost_that_acts_on_an_item_is_a_part() -> None:
    boosts = Boosts([FilterBoost(("hat",), 3.0), FilterBoost(("cup", "mug"), 2.0), FilterBoost(("cup",), 1.5, 0.5)])
    answer = answer_to(SmallView(), history=history("cup"), k=2, boosts=boosts, explain=1)
    [cup, mug] = answer.hits
    assert [(part.name, part.at, part.adds) for part in answer.parts["cup"]] == [
        ("base", None, pytest.approx(4.0)),
        ("boost", 1, pytest.approx(4.0)),
        ("boost", 2, pytest.approx(4.5)),
    ]
    assert [(part.name, part.at) for part in answer.parts["mug"]] == [("base", None), ("boost", 1)]
    adds = dict(answer.because["cup"].by)
    assert sum(adds.values()) == pytest.approx(12.0), "the history adds the score without what is added to it"
    assert (cup.score, mug.score) == pytest.approx((12.5, 4.0))


def test_a_shelf_without_explain_has_no_parts() -> None:
    assert answer_to(SmallView(), history=history("cup"), k=2).parts is None
