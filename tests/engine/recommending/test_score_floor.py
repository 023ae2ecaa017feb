"""Scores that are rounding errors or chance are not presented as taste: the fallback orders and labels the items."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from engine.embedders.registry import EMBEDDERS, make
from engine.fitting.fit import fit
from engine.fitting.uninformative_items import isolated_items
from engine.latent_space.fold_in import LinearFoldIn
from engine.latent_space.score_floor import longest_length, score_floors
from engine.recommending.pipeline import recommend
from engine.recommending.similar_users import similar_users
from engine.recommending.values.boosts import Boosts, FilterBoost
from engine.recommending.values.request import Request
from engine.values.events import Weighting
from engine.values.ids import IdMap
from engine.values.interactions import Interactions
from engine.values.vectors import Vectors, normalise_rows
from indexing.searchers.exact import ExactSearcher
from indexing.searchers.metric import MetricSearcher
from tests.engine.recommending.small_view import VECTORS, SmallView, answer_to, history

WEIGHTING = Weighting()
FEW = {"mf": {"epochs": 2}, "elsa": {"epochs": 2}, "multvae": {"epochs": 2}, "item2vec": {"epochs": 2}}


def taken(pairs):
    """Interactions of (user id, item id)."""
    users, items = (IdMap(dict.fromkeys(ids)) for ids in zip(*pairs, strict=True))
    cells = [users.row(user) for user, _ in pairs], [items.row(item) for _, item in pairs]
    matrix = sp.csr_matrix((np.full(len(pairs), np.log1p(5), np.float32), cells), shape=(len(users), len(items)))
    matrix.sort_indices()
    return Interactions(users, items, matrix)


def one_purchase_each():
    """30 people bought P and nothing else, 12 Q, 5 R, 2 T and one S."""
    counts = {"P": 30, "Q": 12, "R": 5, "T": 2, "S": 1}
    return taken([(f"{item}{user}", item) for item, n in counts.items() for user in range(n)])


def a_loner():
    """Two groups of people and items, and one item that only one person has, who has nothing else."""
    draw = np.random.default_rng(0)
    pairs = [
        (f"u{group}-{user}", f"{group}{item}")
        for group in "ab"
        for user in range(20)
        for item in draw.choice(8, 4, replace=False)
    ]
    return taken([*pairs, ("loner", "S")])


def two_worlds():
    """A with B, P with Q, and nobody with one of either."""
    pairs = [(f"{both}{user}", item) for both in ("AB", "PQ") for user in range(9) for item in both]
    return taken([*pairs, ("ann", "A"), ("pam", "P"), ("pat", "P")])


@dataclass(frozen=True, eq=False)
class _View(SmallView):
    raw: Any = field(default_factory=lambda: np.zeros((0, 2), np.float32))

    def vector(self, row):
        return self.raw[row]


def view_of(space, interactions):
    items, counts = space.items.matrix, interactions.item_counts()
    by_metric = ExactSearcher(normalise_rows(items) if space.metric == "cosine" else items)
    return replace(
        _View(),
        items=space.items.ids,
        n_learnt=len(items),
        n_vectors=len(items),
        n_built=len(items),
        dim=space.dim,
        fold_in=space.fold_in,
        longest_length=longest_length(items),
        users_to_items=MetricSearcher(by_metric, space.metric),
        items_to_items=MetricSearcher(ExactSearcher(normalise_rows(items)), "cosine"),
        most_popular=np.argsort(-counts, kind="stable"),
        popularity=(counts / counts.max()).astype(np.float32),
        raw=items,
    )


def similar(view, item_id, k):
    return answer_to(view, source="search", item_ids=[item_id], k=k)


def shown(view, *item_ids, k=4, **asked):
    past = history(*item_ids, kind="purchase")
    answer = answer_to(view, k=k, weighting=WEIGHTING, history=past, exclude_items=item_ids, **asked)
    return [(hit.item_id, hit.reason) for hit in answer.hits]


@pytest.mark.parametrize("name", EMBEDDERS)
def test_a_history_of_isolated_items_is_answered_with_popular_items(name):
    view = view_of(fit(make(name, FEW.get(name)), one_purchase_each()), one_purchase_each())
    assert shown(view, "S") == [("P", "popular"), ("Q", "popular"), ("R", "popular"), ("T", "popular")]
    assert shown(view, "P", k=1) == [("Q", "popular")]


@pytest.mark.parametrize("name", EMBEDDERS)
def test_an_item_of_one_user_adds_nothing_to_a_history(name):
    world = a_loner()
    view = view_of(fit(make(name, FEW.get(name)), world), world)
    assert {reason for _, reason in shown(view, "S", k=16)} == {"popular"}
    assert shown(view, "S", "a0", k=3) == shown(view, "a0", k=3)
    assert {reason for _, reason in shown(view, "a0", k=3)} == {"history"}


@pytest.mark.parametrize("name", ["spectral", "ease", "blend", "ials"])
def test_popular_items_are_similar_to_an_isolated_item_and_it_is_similar_to_none(name):
    view = view_of(fit(make(name), a_loner()), a_loner())
    beside = [(hit.item_id, hit.reason) for hit in similar(view, "S", k=5).hits]
    assert beside == [(view.items.ids[row], "popular") for row in view.most_popular[:5].tolist()]
    others = similar(view, "a0", k=17)
    assert (len(others.hits), others.shortfall.reason) == (16, "no more items have a vector")
    assert {hit.item_id: hit.reason for hit in others.hits}["S"] == "popular"


@pytest.mark.parametrize("name", ["spectral", "ease", "blend", "elsa"])
def test_a_history_says_nothing_about_items_that_share_no_user_with_it(name):
    view = view_of(fit(make(name), two_worlds()), two_worlds())
    assert shown(view, "A") == [("B", "history"), ("P", "popular"), ("Q", "popular")]
    given = {"source": "given_items", "item_ids": ["Q", "P", "B"], "k": 3}
    hits = answer_to(view, weighting=WEIGHTING, history=history("A", kind="purchase"), **given).hits
    assert [hit.item_id for hit in hits] == ["B", "Q", "P"]
    assert [hit.score for hit in hits[1:]] == [0.0, 0.0]
    found = {hit.item_id: hit.reason for hit in similar(view, "A", k=3).hits}
    assert (found["P"], found["Q"]) == ("popular", "popular")


def test_the_floor_is_the_same_for_pages_boosts_and_explanations():
    view = view_of(fit(make("spectral"), two_worlds()), two_worlds())
    asked = history("A", kind="purchase")
    wanted = [("B", "history"), ("P", "popular"), ("Q", "popular")]
    request = Request(k=3, history=asked, exclude_items={"A"}, explain=5)
    [shelf, _] = recommend(view, [request, request], weighting=WEIGHTING, now_us=0)
    assert [(hit.item_id, hit.reason) for hit in shelf.hits] == wanted
    boosted = shown(view, "A", boosts=Boosts([FilterBoost(("Q",), 1e9)]))
    assert boosted == [("B", "history"), ("Q", "popular"), ("P", "popular")]
    assert set(shelf.because) == {"B"}


def test_items_of_a_factor_without_a_dimension_have_no_vector_of_rounding_errors():
    pairs = [(f"u{each}-{user}", f"{each}{item}") for each in range(5) for user in range(3 + 2 * each) for item in "xy"]
    world = taken(pairs)
    view = view_of(fit(make("spectral", {"dim": 2}), world), world)
    known = {id_ for id_ in world.items.ids if view.vector(world.items.row(id_)).any()}
    assert len(known) == 4
    assert {reason for _, reason in shown(view, next(iter(set(world.items.ids) - known)))} == {"popular"}


def test_the_small_scores_of_an_old_history_are_above_the_floor():
    view = view_of(fit(make("spectral"), two_worlds()), two_worlds())
    fading = Weighting(half_life_days=7.0)
    now_us = 60 * 7 * 86_400_000_000  # sixty half-lives: weights of 1e-18
    past = history("A", kind="purchase")
    answer = answer_to(view, k=3, weighting=fading, now_us=now_us, history=past, exclude_items=["A"])
    assert (answer.hits[0].item_id, answer.hits[0].reason) == ("B", "history")
    assert 0 < answer.hits[0].score < 1e-15


def test_the_floor_grows_with_the_length_of_a_vector():
    floor = score_floors(np.array([[1e20, 1e20]], np.float32), "dot", 3.0)
    assert floor[0] == pytest.approx(4 * 2**-23 * 2**0.5 * 3.0 * 2**0.5 * 1e20, rel=1e-6)


def test_unranked_items_come_between_liked_and_disliked_ones_in_the_order_of_the_fallback():
    view = SmallView(fold_in=LinearFoldIn(VECTORS, np.ones(4, np.float32), np.array([1, -1], np.float32)))
    # of who had cup and hat: cup 4, mug 2, hat -1 and cap -3; of who had cup alone hat and cap are unsure
    assert shown(view, "cup", "hat", k=2) == [("mug", "history"), ("cap", "history")]
    assert shown(view, "cup", k=3) == [("mug", "history"), ("cap", "popular"), ("hat", "popular")]
    assert shown(view, "cup", k=3, fallback=()) == [("mug", "history")]
    latest = SmallView()
    expected = [("mug", "history"), ("cap", "new"), ("hat", "new"), ("new", "new"), ("pen", "new")]
    assert [shown(latest, "cup", k=k, fallback=("new",)) for k in (1, 2, 3, 4, 5)] == [
        expected[:k] for k in range(1, 6)
    ]


def test_users_with_nothing_in_common_are_not_similar():
    users = Vectors(IdMap(["ann", "ben", "cid", "dan"]), np.array([[1, 0], [1, 1], [1e-9, 1], [0, 0]], np.float32))
    assert [id_ for id_, _ in similar_users(users, np.array([2, 0], np.float32), k=4)] == ["ann", "ben"]


def test_an_isolated_item_shares_no_user_with_another_item():
    assert isolated_items(one_purchase_each().matrix).all()
    assert isolated_items(a_loner().matrix).tolist() == [False] * 16 + [True]
