"""bought_together continues with similar items of other categories."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.behaviour.behaviour import no_behaviour
from engine.behaviour.item_lists import from_lists
from tests.engine.recommending.small_view import SmallView, answer_to, history
from tests.engine.recommending.test_guarantee import MAX_ITEMS, made_view

NOTHING = (np.zeros(0, np.int32), np.zeros(0, np.float32))


def of_categories(view, categories):
    values = {row: frozenset(each) for row, each in enumerate(categories)}
    return replace(view, fields={"categories": values})


def slots(view, **asked):
    return [(hit.item_id, hit.source) for hit in answer_to(view, source="bought_together", **asked).hits]


def test_items_of_other_categories_come_before_those_of_the_same_one() -> None:
    lists = from_lists([(np.array([4], np.int32), np.ones(1, np.float32)), *[NOTHING] * 5])
    view = replace(SmallView(), behaviour=replace(no_behaviour(6), bought_together=lists))
    view = of_categories(view, ["a", "a", "b", "b", "a", "b"])
    popular = [("cap", "popular"), ("hat", "popular"), ("new", "popular")]
    assert slots(view, item_ids=["cup"]) == [("pen", "bought_together"), ("mug", "similar"), *popular]
    assert slots(view, item_ids=["cup"], fallback=()) == [("pen", "bought_together")]


def test_without_categories_and_lists_they_are_similar_items() -> None:
    assert slots(SmallView(), item_ids=["cup"], k=1) == [("mug", "similar")]
    assert slots(SmallView(), history=history("cup"), k=1) == [("mug", "similar")]


@given(
    seed=st.integers(0, 2**16),
    categories=st.lists(st.sets(st.sampled_from("abc"), max_size=2), min_size=MAX_ITEMS, max_size=MAX_ITEMS),
    k=st.integers(1, MAX_ITEMS),
)
def test_the_order_is_that_of_the_similar_items_that_share_no_category(seed, categories, k) -> None:
    view = replace(made_view(seed, MAX_ITEMS, MAX_ITEMS, 0.8, "dot"), behaviour=no_behaviour(MAX_ITEMS))
    view = of_categories(view, categories)
    similar = answer_to(view, source="similar", item_ids=["i0"], k=MAX_ITEMS, fallback=()).hits
    alike = [hit for hit in similar if hit.score > 0]
    others = [hit for hit in alike if categories[0] and not categories[int(hit.item_id[1:])] & categories[0]]
    same = [hit for hit in alike if hit not in others]
    found = answer_to(view, source="bought_together", item_ids=["i0"], k=k).hits[: len(alike)]
    scores = [hit.score for hit in [*others, *same][:k]]  # items with equal scores may change places
    assert [hit.score for hit in found] == pytest.approx(scores, abs=1e-5)
    assert {hit.item_id for hit in found[: len(others)]} <= {hit.item_id for hit in others}
    assert {hit.source for hit in found} <= {"similar"}
