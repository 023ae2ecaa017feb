"""Item similarity: two items are similar if a model scores them alike over all users."""

import numpy as np
import pytest
import scipy.sparse as sp

from engine.embedders.model_item_similarity import similarity_of_model
from engine.embedders.registry import EMBEDDERS, make
from engine.evaluation import similar_items
from engine.evaluation.similar_items import ItemSimilarityScorer, category_coherence, next_item_pairs
from engine.latent_space.item_similarity import MAX_DIM, learn_item_similarity, restore, similarity_from_vectors
from engine.values.events import Weighting
from engine.values.interactions import from_events
from engine.values.splits import Split
from tests.engine.worlds import DAY_US, columns, groups, interactions

CLICKS = [
    ("ann", "tent", "purchase"),
    ("ann", "stove", "view"),
    ("ben", "tent", "view"),
    ("ben", "stove", "purchase"),
    ("ben", "lamp", "view"),
    ("cid", "novel", "purchase"),
    ("cid", "reader", "view"),
]


def clicks():
    rows = [(user, item, kind, 1.0, day * DAY_US) for day, (user, item, kind) in enumerate(CLICKS)]
    return from_events(columns(rows), Weighting(), 8 * DAY_US)


@pytest.mark.parametrize("name", sorted(EMBEDDERS))
def test_of_the_seven_clicks_of_the_readme_stove_and_tent_are_like_the_lamp_and_the_tent_is_second(name):
    world = clicks()
    lamp = sp.csr_matrix(np.array([[id_ == "lamp" for id_ in world.items.ids]], np.float32))
    scores = ItemSimilarityScorer.of(make(name).fit(world, seed=0, device="cpu")).scores(lamp)[0]
    ranked = [world.items.ids[row] for row in np.argsort(-scores) if world.items.ids[row] != "lamp"]
    assert sorted(ranked[:2]) == ["stove", "tent"]
    if name != "ials":  # three users leave two dimensions, in which tent and stove coincide
        assert ranked[1] == "tent"
    assert scores[world.items.row("tent")] > 0 > scores[world.items.row("novel")]


def test_the_same_space_has_the_same_item_similarity_after_a_restore():
    space = make("spectral", {"dim": 8}).fit(groups()[0], seed=0, device="cpu")
    first, again = learn_item_similarity(space), restore(learn_item_similarity(space).state())
    assert np.array_equal(first.projection, again.projection)
    assert (first.median_length, first.is_unit) == (pytest.approx(again.median_length), False)
    assert first.project(space.items.matrix).tolist() == again.project(space.items.matrix).tolist()


def test_an_item_that_little_is_known_of_is_less_like_others_than_its_direction_says():
    users = np.array([[1, 0], [0, 1], [1, 0], [0, 1]], np.float32)
    items = np.array([[1, 0], [1, 0], [0, 1], [0.01, 0]], np.float32)
    found = similarity_from_vectors(items, users, "dot")
    projected = found.project(items)
    unit = projected[0] / np.linalg.norm(projected[0])
    learnt, brought = (
        (projected * found.factors(projected, np.full(4, known))[:, None]) @ unit for known in (True, False)
    )
    assert learnt == pytest.approx([0.894, 0.894, learnt[2], 0.02], abs=1e-3)
    assert brought[[0, 1, 3]] == pytest.approx([1, 1, 1], abs=1e-5)  # the evidence of supplied vectors is unknown


def test_users_that_tell_no_items_apart_leave_the_cosine():
    items = np.eye(3, dtype=np.float32)
    assert similarity_from_vectors(items, np.zeros((0, 3), np.float32), "cosine") is None
    assert similarity_from_vectors(items, np.ones((5, 3), np.float32), "cosine") is None
    assert similarity_from_vectors(0 * items, np.eye(3, dtype=np.float32), "dot") is None
    assert similarity_of_model("imported", make("spectral").fit(groups()[0], seed=0, device="cpu")) is None


def test_wide_spaces_are_compared_by_their_widest_directions():
    draw = np.random.default_rng(0)
    spread = np.geomspace(1, 1e-3, 600).astype(np.float32)
    users, items = (draw.standard_normal((n, 600)).astype(np.float32) * spread for n in (900, 50))
    found = similarity_from_vectors(items, users, "dot")
    assert found.dim == MAX_DIM
    whole = np.cov((users / np.linalg.norm(users, axis=1, keepdims=True)).T, bias=True)
    values, vectors = np.linalg.eigh(whole)
    exact = items @ (vectors * np.maximum(values, 0) ** 0.75)
    ours, theirs = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (found.project(items), exact))
    assert np.abs(ours @ ours.T - theirs @ theirs.T).max() < 1e-2


def test_the_next_item_is_looked_for_from_five_items_of_each_history():
    train = interactions([[1, 1, 1, 1, 1, 1, 1, 0], [1, 0, 0, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0, 0]])
    test = interactions([[0, 0, 0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 1]]).matrix
    found = next_item_pairs(train.matrix, test)
    assert len(found) == 6
    assert found.had.toarray().sum(axis=1).tolist() == [1] * 6
    assert found.next.toarray()[:, [0, 7]].tolist() == [[0, 1]] * 5 + [[1, 1]]


def test_similar_items_have_figures_beside_those_of_item_knn():
    world, group = groups(40, 80)
    held = np.random.default_rng(0).random(world.matrix.nnz) < 0.2
    split = Split(world.select_cells(~held), world.select_cells(held).matrix)
    kinds = {id_: [f"group {group[row]}"] for row, id_ in enumerate(world.items.ids)}
    space = make("spectral").fit(split.train, seed=0, device="cpu")
    metrics = similar_items.similar_item_metrics(space, split, kinds)
    assert metrics["recall@20"] > 0.6
    assert metrics["recall@20"] > metrics["item_knn"]["recall@20"] - 0.05
    assert metrics["coherence@5"] > 0.8
    assert set(metrics["item_knn"]) == {"recall@20", "recall@20_interval", "coherence@5"}
    assert "coherence@5" not in similar_items.similar_item_metrics(space, split)
    assert category_coherence(ItemSimilarityScorer.of(space), world.items.ids, {world.items.ids[0]: ["one"]}) == {}
