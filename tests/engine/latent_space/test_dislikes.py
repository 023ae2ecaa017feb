"""Dislikes lower the scores of similar items, with a weight from validation data: live, in batches and explained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from engine.embedders.registry import make
from engine.evaluation import dislike_weight
from engine.evaluation.dislike_weight import learn_dislike_weight
from engine.latent_space import fold_in
from engine.latent_space.dislikes import FoldInWithDislikes, split_by_sign, with_dislikes
from engine.learning.train import train
from engine.recommending.all_users import recommend_to_all
from engine.recommending.explanation import parts_of
from engine.recommending.pipeline import recommend
from engine.recommending.values.request import Request
from engine.values import splits
from engine.values.events import EventColumns, History, Weighting
from engine.values.ids import IdMap
from engine.values.interactions import Interactions, from_events, from_history
from tests.engine.recommending.small_view import VECTORS, SmallView, answer_to
from tests.engine.worlds import checkerboard, columns

FOLD_INS = ("spectral", "ease", "ials", "mf", "blend", "multvae")
PARAMS = {"multvae": {"epochs": 2}, "mf": {"epochs": 2}}
DEFAULT = Weighting()


def of_styles(seed: int = 0, n_users: int = 300, themes: int = 5, per: int = 12, telling: bool = True) -> EventColumns:
    """Users of one theme and one of its two styles. Every other one has looked at an item of each style and dislikes
    one of the style that is not theirs, or a random one where dislikes are not telling; they buy of their own later.
    """
    draw = np.random.default_rng(seed)
    rows = []
    for user in range(n_users):
        theme, style = int(draw.integers(themes)), int(draw.integers(2))
        own, other = ([f"{theme}-{one}-{n}" for n in draw.permutation(per)] for one in (style, 1 - style))
        had = own[:9] + other[:2] if user % 2 else [own.pop(), other.pop()]
        rows += [(f"u{user}", item, "purchase" if user % 2 else "view", 1, int(draw.integers(500))) for item in had]
        if user % 2 == 0:
            disliked = other.pop() if telling or draw.random() < 0.5 else own.pop()
            rows.append((f"u{user}", disliked, "hide", 1, int(draw.integers(500))))
            rows += [(f"u{user}", own.pop(), "purchase", 1, int(draw.integers(500, 1000))) for _ in range(3)]
    return columns(rows)


def signed(world: Interactions, user: int, disliked: int) -> sp.csr_matrix:
    cells = world.matrix[user].tolil()
    cells[0, disliked] = -1.0
    return cells.tocsr()


@pytest.mark.parametrize("name", FOLD_INS)
class TestEveryFoldIn:
    def fitted(self, name: str) -> tuple[Interactions, FoldInWithDislikes, np.ndarray]:
        world = checkerboard()
        space = make(name, {"dim": 4} | PARAMS.get(name, {}) if name != "ease" else {}).fit(world, seed=0, device="cpu")
        return world, FoldInWithDislikes(space.fold_in, 0.5), space.items.matrix

    def test_items_similar_to_a_dislike_score_lower_and_without_dislikes_nothing_changes(self, name: str) -> None:
        _, less, items = self.fitted(name)
        few = sp.csr_matrix((np.ones(3, np.float32), ([0] * 3, [0, 2, 5])), (1, 30))  # two even items, one odd item
        before = (less.likes.vectors(few) @ items.T)[0]
        assert (less.vectors(few) @ items.T)[0].tolist() == before.tolist()
        mixed = few.tolil()
        mixed[0, 7] = -1.0
        moved = (less.vectors(mixed.tocsr()) @ items.T)[0] - before
        assert moved[9::2].mean() < moved[8::2].mean(), "odd ones sink, as the odd one that is disliked"

    def test_many_at_once_are_as_one_by_one_and_a_restored_one_says_the_same(self, name: str) -> None:
        world, less, items = self.fitted(name)
        rows = [signed(world, user, 1 - user % 2) for user in range(6)]
        rows += [world.matrix[7], sp.csr_matrix((1, 30), dtype=np.float32), -abs(rows[0])]
        alone = np.vstack([less.vectors(row) for row in rows])
        together = less.vectors(sp.csr_matrix(sp.vstack(rows)))
        assert together == pytest.approx(alone, abs=1e-5)
        assert not together[-2:].any(), "who likes nothing has no vector"
        state, arrays = less.state()
        again = fold_in.restore(state, items, arrays)
        assert again.vectors(sp.csr_matrix(sp.vstack(rows))) == pytest.approx(together, abs=1e-5)

    def test_the_parts_add_up_to_the_vector_where_they_did_without_dislikes(self, name: str) -> None:
        world, less, _ = self.fitted(name)
        cells = signed(world, 3, 0)
        parts, exact = parts_of(less, cells)
        assert len(parts) == cells.nnz
        assert exact == parts_of(less.likes, split_by_sign(cells)[0])[1]
        if exact:
            assert parts.sum(axis=0) == pytest.approx(less.vectors(cells)[0], abs=1e-5)


@pytest.mark.parametrize("name", ["spectral", "ials"])
def test_the_weight_is_learnt_where_dislikes_tell_something_and_is_served_as_it_is_evaluated(name: str) -> None:
    events = of_styles()
    made = train(events, make(name, {"dim": 16}), DEFAULT, now_us=1000)
    found = made.evaluation["dislikes"]
    assert found["weight"] >= 0.2
    assert found["tried"][f"{found['weight']:g}"] > found["tried"]["0"] + 0.02
    assert isinstance(made.space.fold_in, FoldInWithDislikes)
    assert made.space.fold_in.vectors(made.interactions.signed) == pytest.approx(made.space.users.matrix, abs=1e-4)
    without = train(
        events, make(name, {"dim": 16}), Weighting(kinds=dict(DEFAULT.kinds) | {"dislike": 0.0}), now_us=1000
    )
    assert "dislikes" not in without.evaluation
    assert made.evaluation["ndcg@20"] > without.evaluation["ndcg@20"]


def test_of_very_many_cells_a_part_of_the_users_says_the_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    events = of_styles()
    everything = from_events(events, DEFAULT, 1000)
    monkeypatch.setattr(dislike_weight, "MAX_CELLS", everything.matrix.nnz * 2 // 3)
    found = learn_dislike_weight(
        make("spectral", {"dim": 16}), everything, lambda: splits.validation_split(events, DEFAULT)
    )
    assert found.weight > 0
    told = int(found.reason.split(" for the ")[1].split()[0])
    assert 60 < told < 120, "of about 145 users with dislikes and purchases in the last tenth"


def test_the_weight_is_none_where_dislikes_tell_nothing_or_are_too_few() -> None:
    events = of_styles(telling=False)
    made = train(events, make("spectral", {"dim": 16}), DEFAULT, now_us=1000)
    assert made.evaluation["dislikes"]["weight"] == 0
    assert "significantly" in made.evaluation["dislikes"]["reason"]
    assert not isinstance(made.space.fold_in, FoldInWithDislikes)
    few = of_styles(n_users=40)
    found = learn_dislike_weight(
        make("spectral"), from_events(few, DEFAULT, 1000), lambda: splits.validation_split(few, DEFAULT)
    )
    assert (found.weight, found.tried) == (0, {})
    assert "too few" in found.reason


ROWS = st.lists(
    st.tuples(
        st.just("ann"),
        st.sampled_from(["cup", "hat", "pen"]),
        st.sampled_from(["view", "purchase", "return", "dislike", "remove_from_cart", "unlike", "like"]),
        st.sampled_from([1.0, 2.0, 0.5, 12.0]),
        st.integers(0, 1000),
    ),
    min_size=1,
    max_size=30,
)


@given(ROWS, st.sampled_from(["sum", "log", "binary"]), st.sampled_from([None, 30.0]))
def test_a_live_history_has_the_dislikes_of_training(rows: list, repeat: str, half_life: float | None) -> None:
    weighting = Weighting(repeat=repeat, half_life_days=half_life)
    _, item_ids, kinds, values, occurred = zip(*rows, strict=True)
    history = History(item_ids, kinds, np.array(values, np.float32), np.array(occurred, np.int64))
    items = IdMap(["hat", "cup", "pen"])
    live = from_history(history, items, weighting, 1000, signed=True).toarray()[0]
    others = [("bob", item, "purchase", 1, 0) for item in items.ids]
    made = from_events(columns([*rows, *others]), weighting, 1000)
    row = made.users.row("ann")
    trained = np.zeros(3) if row is None else made.signed[row].toarray()[0]
    if row is not None:  # users without likes are not trained on
        assert live == pytest.approx([trained[made.items.row(item)] for item in items.ids], rel=1e-5)
    assert (from_history(history, items, weighting, 1000).toarray()[0] == np.maximum(live, 0)).all()


def test_taking_back_leaves_no_dislike() -> None:
    kinds = ("view", "remove_from_cart", "unlike")
    history = History(("cup",) * 3, kinds, np.ones(3, np.float32), np.zeros(3, np.int64))
    assert from_history(history, IdMap(["cup"]), DEFAULT, 0, signed=True).nnz == 0


def averse() -> SmallView:
    return replace(SmallView(), fold_in=FoldInWithDislikes(SmallView().fold_in, 0.5))


def past(**kinds: str) -> History:
    return History(tuple(kinds), tuple(kinds.values()), np.ones(len(kinds), np.float32), np.zeros(len(kinds), np.int64))


def test_one_request_and_a_batch_lower_scores_by_dislikes_in_the_same_way() -> None:
    view, history = averse(), past(mug="purchase", hat="dislike")
    asked = {"weighting": DEFAULT, "now_us": 0}
    request = Request(k=6, history=history, exclude_items=["hat"], explain=9)
    [alone] = recommend(view, [request], **asked)
    scores = {hit.item_id: hit.score for hit in alone.hits}
    plain = {hit.item_id: hit for hit in answer_to(SmallView(), k=6, history=history, **asked).hits}
    assert (scores["cap"] < 0, plain["cap"].reason) == (True, "popular"), "it is like the hat"
    assert scores["cup"] == plain["cup"].score > 0
    assert alone.shortfall is not None, "six were asked for"
    assert alone.shortfall.returned == 5, "and every item but the disliked one came"
    assert recommend(view, [request, request], **asked)[1] == alone
    rows = [("ann", item, kind, 1, 0) for item, kind in zip(history.item_ids, history.kinds, strict=True)]
    rows += [("bob", "cap", "purchase", 1, 0)]
    every = Request(k=6, exclude=frozenset({"disliked"}))
    batch = dict(recommend_to_all(view, columns(rows), ["ann", "bob"], every, **asked))["ann"]
    assert [(hit.item_id, hit.score) for hit in batch.hits] == [(hit.item_id, hit.score) for hit in alone.hits]
    given = {"source": "given_items", "item_ids": ["cap", "cup"], "k": 2}
    ranked = {hit.item_id: hit.score for hit in answer_to(view, history=history, **given, **asked).hits}
    assert ranked == {"cap": scores["cap"], "cup": scores["cup"]}
    because = alone.because
    for item_id, found in because.items():
        assert found.exact
        assert sum(adds for _, adds in found.by) == pytest.approx(scores[item_id], abs=1e-6)
    assert dict(because["cap"].by)["hat"] < 0


def test_a_user_with_dislikes_only_gets_popular_items() -> None:
    answer = answer_to(averse(), k=3, history=past(hat="dislike"), exclude_items=["hat"], weighting=DEFAULT)
    assert {hit.reason for hit in answer.hits} == {"popular"}


def test_a_weight_of_nothing_leaves_the_space_as_it_is() -> None:
    world = checkerboard()
    space = make("spectral", {"dim": 2}).fit(world, seed=0, device="cpu")
    assert with_dislikes(space, 0.0, world) is space
    assert VECTORS.shape == (4, 2)
