"""The best values of a field for a user, against a plain definition over all items."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.recommending import best_values as module
from engine.recommending.best_values import best_values
from engine.recommending.values.request import Request
from tests.engine.recommending.small_view import WEIGHTING, SmallView, answer_to, history

BRANDS = st.lists(st.frozensets(st.sampled_from(["Acme", "Best", "Cosy", 7.0]), max_size=2), min_size=6, max_size=6)


def by_definition(view, values, asked):
    """(value, source, score) in order: the sum of the three best scores of each value, first by the history."""
    found = {}
    for source in ("for_you", "popular"):
        scores = defaultdict(list)
        for hit in answer_to(view, source=source, k=6, **asked).hits:
            if source == "popular" or hit.reason == "history":
                for value in values[hit.row]:
                    scores[value].append(max(0.0, hit.score))
        sums = {value: sum(sorted(each, reverse=True)[:3]) for value, each in scores.items()}
        for value, score in sorted(sums.items(), key=lambda pair: -pair[1]):
            if value not in found and (score > 0 or source == "popular"):
                found[value] = (source, score)
    return found


@given(
    brands=BRANDS,
    seen=st.lists(st.sampled_from(["cup", "mug", "hat", "cap", "pen"]), max_size=3),
    k=st.integers(1, 5),
    first=st.integers(1, 4),
    allowed=st.none() | st.lists(st.booleans(), min_size=6, max_size=6),
)
def test_the_score_of_a_value_is_the_sum_of_its_three_best_items(brands, seen, k, first, allowed):
    mask = None if allowed is None else np.array(allowed)
    view = SmallView(fields={"attributes.brand": dict(enumerate(brands))}, allowed=mask)
    asked = {"history": history(*seen), "exclude": frozenset()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FIRST_ITEMS", first)
        patch.setattr(module, "WIDEN", 2)
        request = Request(k=k, **asked)
        found = best_values(view, request, "attributes.brand", weighting=WEIGHTING, now_us=0)
    expected = by_definition(view, brands, asked)
    assert len(found) == min(k, len(expected))  # if k values of eligible items exist, k come back
    assert [each.source for each in found] == [source for source, _ in expected.values()][:k]
    scores = [score for _, score in expected.values()][:k]
    assert [each.score for each in found] == pytest.approx(scores)
    for each in found:
        assert expected[each.value] == (each.source, pytest.approx(each.score))
        assert sum(max(0.0, hit.score) for hit in each.items) == pytest.approx(each.score)


def test_a_user_without_a_history_gets_the_values_of_popular_items():
    view = SmallView(fields={"attributes.brand": {0: frozenset(["Acme"]), 3: frozenset(["Best"])}})
    found = best_values(view, Request(k=9), "attributes.brand", weighting=WEIGHTING, now_us=0)
    assert [(each.value, each.source) for each in found] == [("Best", "popular"), ("Acme", "popular")]
    assert [hit.item_id for hit in found[0].items] == ["cap"]
