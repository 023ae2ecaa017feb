"""Ranking figures against ones worked out by hand."""

from math import log2

import numpy as np
import pytest
import scipy.sparse as sp

from engine.evaluation import baselines
from engine.evaluation.ranking_metrics import SpaceScorer, evaluate_ranking, top_k
from engine.evaluation.significance import bootstrap_interval
from engine.latent_space.fold_in import LinearFoldIn
from engine.latent_space.space import LatentSpace
from engine.values.vectors import Vectors
from tests.engine.worlds import checkerboard, interactions, names


class Fixed:
    """Scores of its own, whatever the history."""

    def __init__(self, scores):
        self.table = np.array(scores, np.float32)

    def scores(self, histories):
        return self.table.copy()


def csr(dense):
    return sp.csr_matrix(np.array(dense, np.float32))


def test_recall_and_ndcg_are_those_worked_out_by_hand():
    # ranks: user 0 gets i1, i2 (i0 is seen); user 1 gets i0, i1; user 2 has no test items and does not count
    scorer = Fixed([[9, 8, 7, 1], [9, 8, 7, 1]])
    histories = csr([[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]])
    test = csr([[0, 0, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]])
    made = evaluate_ranking(scorer, histories, test, k=2)
    assert made.recall.tolist() == [0.5, 1.0]
    assert made.ndcg.tolist() == pytest.approx([(1 / log2(3)) / (1 + 1 / log2(3)), 1.0])
    assert made.coverage == 0.75
    assert made.to_json()["recall@2"] == 0.75
    assert made.to_json()["n_users"] == 2


def test_items_of_the_history_are_never_ranked_and_an_empty_place_is_minus_one():
    ranked = top_k(Fixed([[3, 2, 1]]), csr([[1, 0, 1]]), k=3)
    assert ranked.tolist() == [[1, -1, -1]]


def test_if_repeats_count_items_of_the_history_are_ranked_too():
    scorer, histories, test = Fixed([[3, 2, 1]]), csr([[1, 0, 1]]), csr([[1, 1, 0]])
    assert top_k(scorer, histories, 3, repeats=True).tolist() == [[0, 1, 2]]
    assert evaluate_ranking(scorer, histories, test, 2, repeats=True).recall.tolist() == [1.0]
    assert evaluate_ranking(scorer, histories, test, 2).recall.tolist() == [0.5]


def test_k_over_the_number_of_items_ranks_them_all():
    made = evaluate_ranking(Fixed([[3, 2, 1]]), csr([[0, 0, 0]]), csr([[0, 0, 1]]), k=50)
    assert made.recall.tolist() == [1.0]
    assert made.ndcg.tolist() == pytest.approx([1 / log2(4)])


def test_users_in_many_batches_get_the_same_figures(monkeypatch):
    world = checkerboard()
    test = csr(np.roll(world.matrix.toarray(), 1, axis=1) * (world.matrix.toarray() == 0))
    whole = evaluate_ranking(baselines.item_knn(world), world.matrix, test, k=5)
    monkeypatch.setattr("engine.evaluation.ranking_metrics.BATCH_FLOATS", 90)
    parts = evaluate_ranking(baselines.item_knn(world), world.matrix, test, k=5)
    assert parts.recall.tolist() == whole.recall.tolist()


def test_the_interval_contains_the_mean_and_narrows_with_more_users():
    few = np.random.default_rng(0).random(50)
    many = np.tile(few, 20)
    low, high = bootstrap_interval(few)
    assert low < few.mean() < high
    assert bootstrap_interval(many)[1] - bootstrap_interval(many)[0] < (high - low) / 2
    assert bootstrap_interval(np.zeros(0)) == [0.0, 0.0]
    assert bootstrap_interval(np.ones(5)) == [1.0, 1.0]


def test_popularity_counts_users_and_item_knn_finds_the_neighbour():
    world = interactions([[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 1, 1], [0, 0, 1, 1]])
    assert baselines.popularity(world).scores(world.matrix[:1]).tolist() == [[3, 2, 2, 2]]
    scores = baselines.item_knn(world).scores(csr([[0, 1, 0, 0], [0, 0, 0, 1]]))
    assert scores.argmax(axis=1).tolist() == [0, 2]
    assert scores[0, 0] == pytest.approx(2 / (6**0.5))


def test_a_cosine_space_ranks_by_direction_and_a_dot_space_by_length_too():
    items = np.array([[3, 3], [1, 0]], np.float32)
    fold_in = LinearFoldIn(np.array([[1, 0], [1, 0]], np.float32), np.ones(2, np.float32), np.ones(2, np.float32))
    for metric, best in (("cosine", 1), ("dot", 0)):
        space = LatentSpace(
            Vectors(names("i", 2), items), Vectors(names("u", 0), np.zeros((0, 2), np.float32)), metric, fold_in
        )
        assert SpaceScorer(space).scores(csr([[1, 0]])).argmax() == best
