"""EmbedderContract: what every embedder is held to."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from engine.embedders.registry import EMBEDDERS, make
from engine.errors import InputError
from engine.evaluation.baselines import item_knn
from engine.evaluation.ranking_metrics import SpaceScorer, top_k
from engine.evaluation.similar_items import ItemSimilarityScorer
from engine.latent_space import fold_in
from indexing.generations.generation import MetricSearcher
from indexing.recipes.recipe import Recipe, build
from indexing.searchers.metric import index_vectors
from tests.engine.worlds import checkerboard, groups, interactions, missing, share_of_own


def random_world(n_users=60, n_items=45, share=0.2):
    draw = np.random.default_rng(5)
    dense = (draw.random((n_users, n_items)) < share) * draw.integers(1, 5, (n_users, n_items))
    dense[np.arange(n_users), draw.integers(0, n_items, n_users)] = 1  # nobody is empty
    dense[draw.integers(0, n_users, n_items), np.arange(n_items)] = 1
    return interactions(dense)


# sizes that keep the contract quick; item2vec needs its passes on worlds this small, and these are too dense for an mf
# part of blend that is not asked for
SMALL = {"multvae": {"code": 8, "epochs": 10}, "item2vec": {"negatives": 64}, "blend": {"sphere": 8}}

SMALL_SHOP = {"item2vec": {"negatives": 64}, "multvae": {"code": 32, "dim": 64}, "mf": {"dim": 32}}


@pytest.mark.parametrize("name", sorted(EMBEDDERS))
class TestEmbedderContract:
    def fit(self, name, world, *, dim=8, seed=0):
        return make(name, {"dim": dim} | SMALL.get(name, {})).fit(world, seed=seed, device="cpu")

    def test_fold_in_of_the_training_histories_is_the_stored_users(self, name):
        world = random_world()
        space = self.fit(name, world)
        assert space.users.ids == world.users
        assert space.items.ids == world.items
        assert np.abs(space.fold_in.vectors(world.matrix) - space.users.matrix).max() < 1e-4
        one_by_one = np.vstack([space.fold_in.vectors(world.matrix[row]) for row in range(len(world.users))])
        assert np.abs(one_by_one - space.users.matrix).max() < 1e-4

    def test_the_unit_of_the_weights_changes_nothing(self, name):
        world = random_world()
        heavy = replace(world, matrix=sp.csr_matrix(world.matrix * np.float32(30)))
        first, second = (self.fit(name, each) for each in (world, heavy))
        scores = [each.users.matrix @ each.items.matrix.T for each in (first, second)]
        same = [np.corrcoef(*rows)[0, 1] for rows in zip(*scores, strict=True)]
        assert min(same) > 0.98  # what rounding makes of a training

    def test_it_has_the_declared_abilities(self, name):
        told = []
        embedder, world = make(name, {"dim": 8} | SMALL.get(name, {})), random_world()
        space = embedder.fit(world, seed=0, device="cpu")
        declared = embedder.abilities
        assert (space.metric, space.fold_in.state()[0]) == (declared.metric, declared.fold_in)
        assert declared.codec == declared.samples == (space.codec is not None)
        if declared.resumable:  # test_checkpoints stops each of them and lets it go on
            embedder.fit(world, seed=0, device="cpu", checkpoints=None, report=lambda *each: told.append(each[0]))
            assert told == list(range(1, len(told) + 1)) != []
        else:
            with pytest.raises(TypeError, match="unexpected keyword argument 'report'"):
                embedder.fit(world, seed=0, device="cpu", report=told.append)

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU on this machine")
    def test_it_learns_on_a_gpu_where_it_says_so(self, name):
        embedder = make(name, {"dim": 8} | SMALL.get(name, {}))
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.max_memory_allocated()
        embedder.fit(random_world(), seed=0, device="cuda")
        assert embedder.abilities.gpu == (torch.cuda.max_memory_allocated() > before)

    def test_one_seed_gives_one_space(self, name):
        first, again = self.fit(name, random_world(), seed=3), self.fit(name, random_world(), seed=3)
        assert np.array_equal(first.items.matrix, again.items.matrix)
        assert np.array_equal(first.users.matrix, again.users.matrix)

    def test_vectors_are_finite_float32_of_one_dimension(self, name):
        space = self.fit(name, random_world())
        assert space.items.matrix.dtype == space.users.matrix.dtype == np.float32
        assert space.items.dim == space.users.dim == space.dim
        assert np.isfinite(space.items.matrix).all()
        assert np.isfinite(space.users.matrix).all()
        assert np.abs(space.items.matrix).max() > 0

    def test_the_index_ranks_as_the_model_scores(self, name):
        world = random_world()
        space = self.fit(name, world)
        built = build(Recipe("Flat"), index_vectors(space.items.matrix, space.metric), space.users.matrix)
        _, rows = MetricSearcher(built.searcher, space.metric).search(space.users.matrix, 10)
        scores = SpaceScorer(space).scores(world.matrix)
        expected = -np.sort(-scores, axis=1)[:, :10]
        by_model = np.take_along_axis(scores, rows, axis=1)
        assert by_model == pytest.approx(expected, abs=1e-5)

    def test_an_empty_history_is_a_zero_row_among_others(self, name):
        world = random_world()
        space = self.fit(name, world)
        nothing = sp.csr_matrix((1, len(world.items)), dtype=np.float32)
        assert space.fold_in.vectors(nothing).tolist() == [[0.0] * space.dim]
        mixed = space.fold_in.vectors(sp.csr_matrix(sp.vstack([world.matrix[:2], nothing, world.matrix[2:3]])))
        assert not mixed[2].any()
        assert np.abs(mixed[[0, 1, 3]] - space.users.matrix[:3]).max() < 1e-4

    def test_a_fold_in_made_again_from_its_state_gives_the_same_users(self, name):
        world = random_world()
        space = self.fit(name, world)
        restored = fold_in.restore(*(lambda state: (state[0], space.items.matrix, state[1]))(space.fold_in.state()))
        assert restored.vectors(world.matrix) == pytest.approx(space.users.matrix, abs=1e-5)
        assert all(array.dtype == np.float32 for array in space.fold_in.state()[1].values())

    def test_the_checkerboard_is_solved(self, name):
        world = checkerboard()
        space = self.fit(name, world, dim=2)
        ranked = top_k(SpaceScorer(space), world.matrix, 1)[:, 0]
        assert ranked.tolist() == [missing(user) for user in range(40)]

    def test_similar_items_of_the_checkerboard_are_of_one_colour(self, name):
        world = checkerboard()
        scores = ItemSimilarityScorer.of(self.fit(name, world, dim=30)).scores(sp.identity(30, np.float32, "csr"))
        assert share_of_own(scores, np.arange(30) % 2) == 1.0

    @pytest.mark.parametrize(("n_items", "n_users"), [(20, 40), (40, 80)])
    def test_similar_items_of_a_small_shop_are_of_one_group_as_often_as_those_of_item_knn(self, name, n_items, n_users):
        ours, theirs = [], []
        for seed in range(3):
            world, group = groups(n_items, n_users, seed)
            each = sp.identity(len(group), np.float32, "csr")
            space = make(name, SMALL_SHOP.get(name)).fit(world, seed=0, device="cpu")
            ours.append(share_of_own(ItemSimilarityScorer.of(space).scores(each), group))
            theirs.append(share_of_own(item_knn(world).scores(each), group))
        assert np.mean(theirs) > 0.7  # of .25 by chance
        assert np.mean(ours) >= np.mean(theirs) - 0.03

    def test_more_dimensions_than_the_data_has_are_no_harm(self, name):
        world = checkerboard(6, 4)
        space = self.fit(name, world, dim=64)
        assert np.isfinite(space.items.matrix).all()
        assert np.abs(space.fold_in.vectors(world.matrix) - space.users.matrix).max() < 1e-4
        smallest = self.fit(name, interactions([[1]]), dim=64)
        assert np.isfinite(smallest.users.matrix).all()

    def test_fitting_does_not_touch_the_interactions(self, name):
        world = random_world()
        before = world.matrix.copy()
        self.fit(name, world)
        assert (world.matrix != before).nnz == 0

    def test_its_parameters_are_frozen_and_an_unknown_one_is_an_error(self, name):
        embedder = make(name, {"dim": "16"})
        assert embedder.dim == 16
        assert replace(embedder, dim=4).dim == 4
        with pytest.raises(AttributeError):
            embedder.dim = 5
        with pytest.raises(InputError, match=f"{name} has no parameter 'dims'; it has dim, "):
            make(name, {"dims": 5})
        with pytest.raises(InputError, match=r"expected a whole number for dim of .*, got 'many'"):
            make(name, {"dim": "many"})
        with pytest.raises(InputError):
            make(name, {"dim": -1})


def test_an_unknown_embedder_is_an_error_that_lists_the_embedders():
    with pytest.raises(InputError, match=f"expected an embedder of {', '.join(EMBEDDERS)}, got 'magic'"):
        make("magic")


def test_a_fold_in_of_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="unknown fold-in 'magic'"):
        fold_in.restore("magic", np.ones((1, 1), np.float32), {})


def test_padded_batches_hold_every_cell_once_however_small_they_are(monkeypatch):
    world = random_world().matrix
    monkeypatch.setattr("engine.latent_space.fold_in.BATCH_FLOATS", 4 * (4 + 12) * 3)
    dense, n_batches = np.zeros(world.shape, np.float32), 0
    for rows, columns, weights in fold_in.padded(world, dim=4):
        np.add.at(dense, (np.repeat(rows, columns.shape[1]), columns.ravel()), weights.ravel())
        n_batches += 1
    assert np.array_equal(dense, world.toarray())
    assert n_batches > 5
