"""mf's losses beside the formulas of their papers, pair by pair, and SL@K on a world with an obvious answer."""

import numpy as np
import pytest
import torch

from engine.embedders.registry import make
from engine.embedders.training.gradient_descent import history_batch
from engine.errors import InputError
from engine.evaluation.ranking_metrics import SpaceScorer, top_k
from tests.engine.worlds import checkerboard, interactions, missing

HISTORIES = interactions([[1, 0, 2, 0, 0, 1], [0, 3, 0, 0, 1, 0], [0, 0, 0, 0.5, 0, 0]])
LOSSES = {
    "SL": {"loss_power": 1.0},
    "BSL": {"loss_power": 1.4, "temperature": 0.1},
    "SL@K": {"loss_power": 1.0, "top_k": 2},
    "SL@K with a temperature of its own": {"loss_power": 1.0, "top_k": 2, "top_k_temperature": 0.05},
    "SL@K over as many items as there are, BSL": {"loss_power": 1.2, "top_k": 6, "top_k_temperature": 1.0},
    "SL over a sample": {"loss_power": 1.0, "negatives": 4},
    "SL@K over a sample": {"loss_power": 1.0, "top_k": 3, "negatives": 4},
}


def tables():
    draw = torch.Generator().manual_seed(3)
    return [torch.nn.Parameter(3 * torch.randn(n, 4, generator=draw)) for n in HISTORIES.matrix.shape]


def plain(embedder, users, items, drawn):
    """The weighted mean over pairs (u, i) of power * log sum_j exp(s_uj / t) - s_ui / t, j drawn, s the cosine.

    SL@K: a pair weighs sigmoid((s_ui - cut_u) / tau_w) as much, the cut being the score of the user's K-th item; of
    drawn ones of as many as the share of the drawn. No gradient goes through a weight.
    """
    scores = torch.nn.functional.cosine_similarity(users[:, None], items[None], dim=2)
    rank = round(embedder.top_k * len(drawn) / len(items))
    losses, weights = [], []
    for user, item in zip(*HISTORIES.matrix.nonzero(), strict=True):
        against = scores[user, drawn]
        weight = torch.tensor(HISTORIES.matrix[user, item])
        if embedder.top_k:
            cut = sorted(against.tolist(), reverse=True)[rank - 1]
            softness = embedder.top_k_temperature or embedder.temperature
            weight = weight / (1 + np.exp((cut - scores[user, item].item()) / softness))
        softmax = torch.log(torch.exp(against / embedder.temperature).sum())
        losses.append(weight * (embedder.loss_power * softmax - scores[user, item] / embedder.temperature))
        weights.append(weight)
    return torch.stack(losses).sum() / torch.stack(weights).sum()


@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_and_its_gradients_are_those_of_the_formula(name):
    embedder, ours, theirs = make("mf", LOSSES[name]), tables(), tables()
    n_items = HISTORIES.matrix.shape[1]
    drawn = torch.arange(n_items)
    if embedder.negatives < n_items:
        drawn = torch.randint(n_items, (embedder.negatives,), generator=torch.Generator().manual_seed(7))
    cells = history_batch(HISTORIES.matrix, np.arange(3), torch.device("cpu"))
    found = embedder._loss(cells, *ours, torch.Generator().manual_seed(7))
    expected = plain(embedder, *theirs, drawn)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    found.backward()
    expected.backward()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)


def test_a_sharp_cut_leaves_the_pairs_within_the_first_k_and_half_of_the_last_of_them():
    scores = torch.tensor(
        [[0.9, 0.1, 0.5, -0.2, 0.3, 0.7], [0.0, 0.8, 0.1, 0.2, 0.7, 0.3], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]]
    )
    embedder = make("mf", {"top_k": 2, "top_k_temperature": 0.001})
    cells = history_batch(HISTORIES.matrix, np.arange(3), torch.device("cpu"))
    weighed = embedder._weigh_by_rank(cells, scores, torch.eye(6), torch.tensor([0.7, 0.7, 0.5]))
    assert weighed.weights.tolist() == pytest.approx([1, 0, 0.5, 3, 0.5, 0])


def test_the_temperature_of_the_cut_is_that_of_the_loss_unless_it_is_given():
    spaces = [
        make("mf", {"dim": 4, "epochs": 2, "top_k": 5} | more).fit(checkerboard(), seed=0, device="cpu").items.matrix
        for more in ({}, {"top_k_temperature": 0.2}, {"top_k_temperature": 0.02}, {"top_k": 0})
    ]
    assert np.array_equal(spaces[0], spaces[1])
    assert np.abs(spaces[0] - spaces[2]).max() > 1e-3
    assert np.abs(spaces[0] - spaces[3]).max() > 1e-3


@pytest.mark.parametrize("softness", [0.0, 1.0])
def test_sl_at_5_solves_the_checkerboard(softness):
    world = checkerboard()
    space = make("mf", {"dim": 4, "top_k": 5, "top_k_temperature": softness}).fit(world, seed=0, device="cpu")
    assert top_k(SpaceScorer(space), world.matrix, 1)[:, 0].tolist() == [missing(user) for user in range(40)]


@pytest.mark.parametrize("params", [{"top_k": -1}, {"top_k_temperature": -0.1}])
def test_a_cut_below_zero_is_refused(params):
    with pytest.raises(InputError, match="top_k and top_k_temperature must be 0 or more"):
        make("mf", params)
