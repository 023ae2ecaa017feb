"""Dense work over all items goes in pieces of a batch: memory is bounded, and what is learnt stays the same."""

import numpy as np
import pytest

from engine.embedders.registry import make
from engine.embedders.training import chunks
from engine.embedders.training.chunks import users_per_chunk
from engine.embedders.training.gradient_descent import HistoryBatch
from engine.evaluation.ranking_metrics import SpaceScorer, top_k
from engine.fitting.memory_estimate import DENSE_BATCHES, estimate_bytes
from tests.engine.worlds import checkerboard, missing

PARAMS = {"elsa": {"dim": 4, "batch": 32, "epochs": 8}, "multvae": {"dim": 8, "code": 8, "batch": 32}}


def fitted(name, monkeypatch, largest):
    """The space of the checkerboard, its losses, and how many users each dense array of the fit had."""
    monkeypatch.setattr(chunks, "MAX_FLOATS", largest)
    dense, sizes, losses = HistoryBatch.dense, [], []

    def counted(cells, n_items):
        sizes.append(cells.n_users)
        return dense(cells, n_items)

    with monkeypatch.context() as patched:
        patched.setattr(HistoryBatch, "dense", counted)
        space = make(name, PARAMS[name]).fit(checkerboard(), seed=1, report=lambda _, loss, __: losses.append(loss))
    return space, losses, sizes


def test_pieces_shrink_with_the_catalogue_to_a_handful_and_are_whole_batches_at_usual_sizes():
    for name in DENSE_BATCHES:
        assert users_per_chunk(100_000) >= make(name).batch
    assert users_per_chunk(1_000_000) == 67
    assert users_per_chunk(100_000_000) == 8
    assert users_per_chunk(0) >= 512


@pytest.mark.parametrize("name", PARAMS)
def test_no_dense_array_has_more_users_than_fit(name, monkeypatch):
    assert set(fitted(name, monkeypatch, 10 * 30)[2]) == {10, 2, 8}  # of batches of 32 and 8
    assert set(fitted(name, monkeypatch, 1)[2]) == {8}
    assert set(fitted(name, monkeypatch, 2**26)[2]) == {32, 8}


def test_a_loss_without_noise_learns_the_same_in_chunks_as_in_whole_batches(monkeypatch):
    whole, whole_losses, _ = fitted("elsa", monkeypatch, 2**26)
    space, losses, _ = fitted("elsa", monkeypatch, 10 * 30)
    assert losses == pytest.approx(whole_losses, rel=1e-4)
    assert space.items.matrix == pytest.approx(whole.items.matrix, abs=1e-3)
    briefly = make("elsa", PARAMS["elsa"] | {"epochs": 1}).fit(checkerboard(), seed=1)
    assert np.abs(briefly.items.matrix - whole.items.matrix).max() > 0.01  # it did learn


def test_a_loss_with_noise_solves_the_checkerboard_in_pieces(monkeypatch):
    space, _, _ = fitted("multvae", monkeypatch, 10 * 30)
    assert top_k(SpaceScorer(space), checkerboard().matrix, 1)[:, 0].tolist() == [missing(user) for user in range(40)]


@pytest.mark.parametrize("name", DENSE_BATCHES)
def test_the_estimate_counts_whole_batches_up_to_100_000_items_and_pieces_above(name):
    embedder = make(name, {"dim": 64})
    large = make(name, {"dim": 64, "batch": 2048})

    def of_batch(n_items):
        return estimate_bytes(large, (1000, n_items), 10**6) - estimate_bytes(embedder, (1000, n_items), 10**6)

    assert of_batch(30_000) == 4 * DENSE_BATCHES[name] * 30_000 * (2048 - embedder.batch)
    assert of_batch(1_000_000) == 0
    assert estimate_bytes(large, (1000, 1_000_000), 10**6) < 10 * 2**30
