"""pca agrees with scikit-learn's to 1e-4, whichever way it goes about it."""

import tracemalloc

import numpy as np
import pytest
from sklearn.decomposition import PCA as Reference

from engine.embedders.feature_embedders.pca import PCA
from engine.errors import DeviceUnavailable, InputError


def low_rank(n, width, seed=0):
    draw = np.random.default_rng(seed)
    strengths = 2.0 ** -np.arange(12)
    data = (draw.standard_normal((n, 12)) * strengths) @ draw.standard_normal((12, width))
    return (data + 0.001 * draw.standard_normal((n, width)) + 3).astype(np.float32)


@pytest.mark.parametrize(("n", "width"), [(500, 40), (60, 400), (400, 2000)])
def test_vectors_and_errors_are_those_of_scikit_learn(n, width):
    data = low_rank(n, width)
    ours = PCA(dim=8).fit(data, seed=0)
    reference = Reference(8, svd_solver="full").fit(data.astype(np.float64))
    expected = reference.transform(data.astype(np.float64))
    scale = np.abs(expected).max()
    assert np.abs(ours.encode(data) - expected).max() < 1e-4 * scale
    assert np.abs(ours.decode(ours.encode(data)) - reference.inverse_transform(expected)).max() < 1e-4 * scale
    assert np.allclose(ours.variances, reference.explained_variance_, rtol=1e-3)


def test_batches_give_the_same_result_as_all_records_at_once():
    data = low_rank(1000, 30)
    whole = PCA(dim=5).fit(data)
    parts = PCA(dim=5).fit_batches((data[at : at + 90] for at in range(0, 1000, 90)), 30)
    assert np.abs(whole.encode(data) - parts.encode(data)).max() < 1e-3


def test_the_default_dimension_keeps_99_percent_of_the_variance():
    data = low_rank(500, 40)
    core = PCA().fit(data)
    kept = 1 - ((data - core.decode(core.encode(data))) ** 2).sum() / ((data - data.mean(axis=0)) ** 2).sum()
    assert kept >= 0.99
    assert Reference(0.99, svd_solver="full").fit(data).n_components_ == core.dim


@pytest.mark.parametrize(
    ("dim", "shape", "message"),
    [
        (5, (30, 4), "at most 4 dimensions, one per prepared column, got 5"),
        (9, (6, 20), "6 records span at most 5 dimensions, got 9"),
    ],
)
def test_more_dimensions_than_there_are_is_an_error(dim, shape, message):
    with pytest.raises(InputError, match=message):
        PCA(dim=dim).fit(low_rank(*shape))
    with pytest.raises(InputError, match="dim cannot be negative"):
        PCA(dim=-1)


@pytest.mark.parametrize(("width", "dim"), [(64, 5), (1600, 3)])
def test_a_memory_mapped_matrix_is_never_all_in_memory(tmp_path, width, dim):
    n = 40_000 if width == 64 else 6_000
    data = low_rank(n, width)
    np.save(tmp_path / "records.npy", data)
    mapped = np.load(tmp_path / "records.npy", mmap_mode="r")
    tracemalloc.start()
    core = PCA(dim=dim).fit(mapped, seed=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < data.nbytes / 3
    whole = PCA(dim=dim).fit(data, seed=0)
    assert np.abs(core.encode(data[:500]) - whole.encode(data[:500])).max() < 1e-4


def test_float64_batches_far_from_zero_lose_nothing():
    data = low_rank(3000, 20).astype(np.float64)
    near = PCA(dim=4).fit_batches([data], 20)
    far = PCA(dim=4).fit_batches(iter([data[:10] + 1e6, data[10:10], data[10:] + 1e6]), 20)
    assert np.abs(near.components - far.components).max() < 1e-4
    with pytest.raises(InputError, match="expected batches of 20 columns"):
        PCA(dim=4).fit_batches([data[:, :19]], 20)


def test_a_gpu_that_is_not_there_is_an_error(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(DeviceUnavailable, match="cuda was requested"):
        PCA(dim=2).fit(low_rank(30, 5), device="cuda")
