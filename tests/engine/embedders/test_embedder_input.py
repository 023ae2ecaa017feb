"""What every embedder makes of data at the edge: it fits, with finite vectors, or says in one sentence why not."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from engine.embedders.registry import EMBEDDERS, make
from engine.errors import TrainingFailed
from engine.evaluation.ranking_metrics import SpaceScorer, top_k
from engine.fitting.training_passes import REPORTED_PASSES_PARAMETER
from engine.latent_space.fold_in import SumFoldIn, restore
from tests.engine.worlds import checkerboard, interactions, missing

EDGES = {
    "one user": np.ones((1, 6)),
    "one item": np.ones((6, 1)),
    "all users alike": np.tile([1, 0, 1, 1, 0, 1], (8, 1)),
    "an item with every user, a user with every item": np.eye(7) + np.eye(7)[0] + np.eye(7)[0][:, None] > 0,
    "one item a user, no two in common": np.eye(5),
    "fractions and huge counts": np.eye(6) * 1e-3 + np.eye(6, k=1) * 1e6,
}
SHORT = {
    "mf": {"epochs": 2},
    "elsa": {"epochs": 2},
    "multvae": {"code": 8, "epochs": 2},
    "item2vec": {"epochs": 2},
    "blend": {"sphere": 32, "sphere_epochs": 2},
}
SMALL = {"multvae": {"code": 8}, "item2vec": {"negatives": 64}}
DESCENDING = dict.fromkeys(("mf", "elsa", "multvae", "item2vec"), "learning_rate") | {"blend": "sphere_rate"}


@pytest.mark.parametrize("name", sorted(EMBEDDERS))
class TestEdges:
    @pytest.mark.parametrize("edge", EDGES)
    def test_it_fits_and_folds_in_the_training_histories(self, name, edge, monkeypatch):
        monkeypatch.setattr("engine.embedders.multvae.MIN_STEPS", 10)
        world = interactions(EDGES[edge])
        space = make(name, {"dim": 32} | SHORT.get(name, {})).fit(world, seed=0, device="cpu")
        assert np.isfinite(space.items.matrix).all()
        assert np.isfinite(space.users.matrix).all()
        size = max(1.0, float(np.abs(space.users.matrix).max()))
        assert np.abs(space.fold_in.vectors(world.matrix) - space.users.matrix).max() < 1e-4 * size

    def test_a_user_never_seen_is_ranked_as_one_with_the_same_history_is(self, name):
        world = checkerboard()
        space = make(name, {"dim": 8} | SMALL.get(name, {})).fit(world, seed=0, device="cpu")
        half = sp.csr_matrix(world.matrix[[0]].multiply(np.arange(30) < 20), dtype=np.float32)  # of the even kind
        scores = (space.fold_in.vectors(half) @ space.items.matrix.T)[0]
        assert scores[20::2].min() > scores[21::2].max()


@pytest.mark.parametrize("name", DESCENDING)
def test_a_diverged_training_is_an_error_with_the_losses_and_a_remedy(name):
    given = {"sphere": 4} if name == "blend" else {}
    embedder = make(name, {"dim": 4, REPORTED_PASSES_PARAMETER[name]: 30, DESCENDING[name]: 1e30} | given)
    with pytest.raises(TrainingFailed, match=rf"^{name} diverged, loss by epoch .*; lower {DESCENDING[name]}$") as told:
        embedder.fit(checkerboard(), seed=0, device="cpu")
    assert len(told.value.losses) >= 1


@pytest.mark.parametrize("name", DESCENDING)
def test_products_in_bfloat16_as_on_a_gpu_learn_the_same_thing(name, monkeypatch):
    plain, used = torch.autocast, []

    def mixed(kind, dtype, enabled):
        used.append(enabled)
        return plain(kind, dtype, enabled=True)

    monkeypatch.setattr("engine.embedders.training.gradient_descent.torch.autocast", mixed)
    world = checkerboard()
    given = SMALL.get(name, {"sphere": 8} if name == "blend" else {})
    space = make(name, {"dim": 4} | given).fit(world, seed=0, device="cpu")
    assert used
    assert not any(used)  # on a CPU nothing is mixed but here
    assert space.items.matrix.dtype == np.float32
    assert top_k(SpaceScorer(space), world.matrix, 1)[:, 0].tolist() == [missing(user) for user in range(40)]


@pytest.mark.parametrize("weight", [1e30, 1e37])
def test_weights_beyond_float32_are_an_error_of_ials_with_a_remedy(weight):
    world = interactions(checkerboard().matrix.toarray() * weight)
    with pytest.raises(TrainingFailed, match=r"ials diverged: .*; raise reg or lower the event weights"):
        make("ials", {"dim": 4}).fit(world, seed=0, device="cpu")


def test_a_loss_that_stays_finite_and_rises_is_a_divergence_too():
    with pytest.raises(TrainingFailed, match="item2vec diverged, loss by epoch"):
        make("item2vec", {"dim": 4, "epochs": 30, "learning_rate": 30.0}).fit(checkerboard(), seed=0, device="cpu")


def test_a_sum_of_fold_ins_is_its_parts_side_by_side_and_scales_unit_ones():
    world = checkerboard()
    space = make("blend", {"dim": 3, "wide": 5, "sphere": 2, "sphere_epochs": 1}).fit(world, seed=0, device="cpu")
    assert isinstance(space.fold_in, SumFoldIn)
    whole = space.fold_in.vectors(world.matrix)
    cosines = np.linalg.norm(whole[:, space.fold_in.ends[-2] :], axis=1)
    assert cosines == pytest.approx(np.full(40, space.fold_in.scales[-1]), rel=1e-5)
    again = restore(*(lambda name, arrays: (name, space.items.matrix, arrays))(*space.fold_in.state()))
    assert again.vectors(world.matrix) == pytest.approx(whole, abs=1e-6)
