"""`min_score`: exactly the items that the model scores high enough, in their boosted order."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InputError
from engine.recommending.pipeline import recommend
from engine.recommending.values.boosts import NO_BOOSTS
from engine.recommending.values.request import Pin, Request
from engine.values.events import Weighting
from tests.engine.recommending.small_view import SmallView, answer_to, history
from tests.engine.recommending.test_guarantee import MadeView, requests, views

WEIGHTING = Weighting()


@given(
    view=views,
    request=requests,
    lowest=st.sampled_from([0.1, 0.55, 0.99]),  # no score of these vectors: a boosted one is known to 1e-6 only
    source=st.sampled_from(["for_you", "similar"]),
)
def test_all_items_above_the_level_are_shown_and_no_others(view: MadeView, request: Request, lowest, source) -> None:
    view = replace(view, levels={"medium": lowest})
    request = replace(request, source=source, item_ids=["i0"] if source == "similar" else (), explain=None)
    everything = replace(request, k=view.n_vectors, boosts=NO_BOOSTS)
    [plain] = recommend(view, [everything], weighting=WEIGHTING, now_us=0)
    above = {hit.item_id for hit in plain.hits if hit.source == source and hit.score >= lowest}
    [answer] = recommend(view, [replace(request, min_score="medium")], weighting=WEIGHTING, now_us=0)
    shown = [hit.item_id for hit in answer.hits]
    assert set(shown) <= above
    assert len(set(shown)) == len(shown) == min(request.k, len(above))
    scores = [hit.score for hit in answer.hits]
    assert scores == sorted(scores, reverse=True)
    assert (answer.shortfall is None) == (len(shown) == request.k)


def test_a_pinned_item_needs_no_score_and_a_shortfall_names_the_level() -> None:
    view = SmallView(levels={"high": 1.5})
    answer = answer_to(
        view, history=history("cup"), exclude=frozenset({"seen"}), k=3, min_score="high", pins=(Pin(1, "hat"),)
    )
    assert [hit.item_id for hit in answer.hits] == ["hat", "mug"]
    assert "min_score high asks for" in answer.shortfall.reason


def test_a_shelf_without_scores_of_the_model_is_empty_and_says_why() -> None:
    answer = answer_to(SmallView(levels={"low": 0.1}), k=3, min_score="low")
    assert answer.hits == ()
    assert answer.shortfall.reason == "min_score low asks for scores of the model, which has none for this request"


def test_an_index_without_measured_scores_has_to_be_built_again() -> None:
    with pytest.raises(InputError, match="build it again") as error:
        answer_to(SmallView(), history=history("cup"), min_score="low")
    assert error.value.problems[0].loc == ("min_score",)
