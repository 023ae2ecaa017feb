"""Recommend, rank and similar: one pipeline over a small view with a real index."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from engine.errors import InputError, NotFound
from engine.recommending.similar_users import similar_users
from engine.recommending.vectors.user_vectors import user_vector
from engine.values.events import History
from engine.values.ids import IdMap
from engine.values.vectors import Vectors
from indexing.generations.generation import MetricSearcher
from indexing.searchers.exact import ExactSearcher
from indexing.searchers.metric import inverse_lengths
from tests.engine.recommending.small_view import VECTORS, WEIGHTING, SmallView, answer_to, history


def asked(view, **request):
    answer = answer_to(view, **{"k": 3} | request)
    return [(hit.item_id, hit.reason) for hit in answer.hits]


def ranked(view, item_ids, **request):
    return answer_to(view, source="given_items", k=len(item_ids), item_ids=item_ids, **request).hits


def similar(view, item_ids, unlike, **request):
    return answer_to(view, source="search", item_ids=item_ids, unlike=unlike, **request)


def near(view, vector, **request):
    return answer_to(view, source="search", vector=vector, **request)


def test_the_best_items_for_a_history_come_first_with_their_scores():
    answer = answer_to(SmallView(), k=2, history=history("mug"))
    assert [(hit.item_id, hit.row, hit.score, hit.reason) for hit in answer.hits] == [
        ("cup", 0, 2.0, "history"),
        ("mug", 1, 1.0, "history"),
    ]


def test_an_excluded_item_is_never_shown_by_any_source():
    view = SmallView()
    out = {"cup", "pen", "new", "unknown"}
    shown = [id_ for id_, _ in asked(view, k=10, history=history("mug"), exclude_items=out)]
    assert sorted(shown) == ["cap", "hat", "mug"]
    assert asked(view, k=10, exclude_items=out) == [("cap", "popular"), ("mug", "popular"), ("hat", "popular")]


def test_popular_then_new_items_fill_the_shelf_and_say_so():
    assert asked(SmallView(), k=6, history=history("mug"))[:1] == [("cup", "history")]
    assert asked(SmallView(), k=6, history=history("mug"))[4:] == [("pen", "popular"), ("new", "new")]
    answer = answer_to(SmallView(), k=9, history=history("mug"))
    assert (answer.shortfall.requested, answer.shortfall.returned, answer.shortfall.reason) == (
        9,
        6,
        "no more items are eligible",
    )


def test_a_history_without_known_items_is_answered_with_popular_items():
    for nothing in (History(), history("pen"), history("unknown"), history("cup", kind="return")):
        assert asked(SmallView(), k=1, history=nothing) == [("cap", "popular")]
        assert user_vector(SmallView(), nothing, WEIGHTING, 0) is None


def test_only_allowed_items_are_shown():
    view = SmallView(allowed=np.array([False, True, True, False, False, True]))
    assert asked(view, k=10, history=history("cup")) == [("mug", "history"), ("hat", "popular"), ("new", "new")]
    assert [hit.item_id for hit in near(view, np.array([0, 1], np.float32), k=10).hits] == ["hat", "mug"]


def test_a_vector_is_searched_as_it_is():
    assert asked(SmallView(), k=1, vector=np.array([0, 0.1], np.float32)) == [("cap", "vector")]


def test_given_items_are_ranked_for_the_user():
    hits = ranked(SmallView(), ["pen", "hat", "cup", "ghost", "mug"], history=history("mug"))
    assert [(hit.item_id, hit.reason) for hit in hits] == [
        ("cup", "rank"), ("mug", "rank"), ("hat", "rank"), ("pen", "unranked"), ("ghost", "unranked"),
    ]  # fmt: skip
    assert ranked(SmallView(), []) == ()


def test_similarity_depends_on_direction_and_not_on_length():
    answer = similar(SmallView(), ["hat"], [], k=2)
    assert next((hit.item_id, hit.score) for hit in answer.hits) == ("cap", pytest.approx(1.0))
    both = similar(SmallView(), ["cup", "hat"], [], k=5)
    assert sorted(hit.item_id for hit in both.hits) == ["cap", "mug"]
    assert (both.shortfall.requested, both.shortfall.returned) == (5, 2)


def test_items_that_cancel_out_give_no_direction():
    with pytest.raises(InputError, match="cancel out"):
        similar(SmallView(), ["cup"], ["mug"], k=2)


@pytest.mark.parametrize(
    ("item_id", "sentence"),
    [
        ("ghost", "there is no item 'ghost'"),
        ("pen", "item 'pen' has no vector yet"),
        ("new", "item 'new' has no vector yet"),
    ],
)
def test_an_item_to_search_from_must_have_a_vector(item_id, sentence):
    with pytest.raises(NotFound, match=sentence):
        similar(SmallView(), [item_id], [], k=2)
    with pytest.raises(NotFound, match=sentence):
        similar(SmallView(), ["cup"], [item_id], k=2)


@pytest.mark.parametrize("size", [1e20, 1e-30])
def test_scores_are_cosines_at_either_end_of_float32(size):
    vectors = (VECTORS * size).astype(np.float32)
    view = FarView(vectors)
    hits = near(view, np.array([0, size], np.float32), k=4).hits
    assert [(hit.item_id, round(hit.score, 3)) for hit in hits[:2]] == [("hat", 1), ("cap", 1)]
    assert [hit.score for hit in similar(view, ["hat"], ["cup"], k=1).hits] == [pytest.approx(0.5**0.5)]
    assert similar_users(view.users, vectors[3], k=2) == [("ben", pytest.approx(1))]  # ann has nothing in common


@dataclass(frozen=True, eq=False)
class FarView(SmallView):
    """The same items as raw vectors of another length, beside what makes them unit vectors, and two users."""

    vectors: Any = None

    def __init__(self, vectors):
        super().__init__()
        object.__setattr__(self, "vectors", vectors)
        searcher = MetricSearcher(ExactSearcher(vectors, inverse_lengths(vectors)), "cosine")
        object.__setattr__(self, "items_to_items", searcher)
        object.__setattr__(self, "users", Vectors(IdMap(["ann", "ben"]), vectors[[0, 2]]))

    def vector(self, row):
        return self.vectors[row] if row < 4 else None
