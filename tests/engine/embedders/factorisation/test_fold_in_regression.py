"""Item vectors by whose sums histories become given user vectors: ridge regression, beside numpy's own solution."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from engine.embedders.factorisation import fold_in_regression
from engine.embedders.factorisation.fold_in_regression import fold_in_inputs

CPU = torch.device("cpu")


def world(n_users=60, n_items=40, dim=6):
    draw = np.random.default_rng(4)
    dense = (draw.random((n_users, n_items)) < 0.2) * draw.uniform(0.5, 3, (n_users, n_items))
    users = draw.standard_normal((n_users, dim)).astype(np.float32)
    return sp.csr_matrix(dense.astype(np.float32)), users


def exact(users, matrix):
    dense = matrix.toarray().astype(np.float64)
    by_user, by_item = (np.where(sums > 0, sums, 1.0) for sums in (dense.sum(1), dense.sum(0)))
    scaled = by_user[:, None] ** -0.5 * dense * by_item**-fold_in_regression.EXPONENT
    solved = np.linalg.solve(scaled @ scaled.T + fold_in_regression.RIDGE * np.eye(len(dense)), users)
    return by_item[:, None] ** -fold_in_regression.EXPONENT * (scaled.T @ solved)


def test_the_inputs_are_those_of_the_ridge_regression(monkeypatch):
    monkeypatch.setattr(fold_in_regression, "MAX_STEPS", 400)
    monkeypatch.setattr(fold_in_regression, "TOLERANCE", 1e-6)
    matrix, users = world()
    np.testing.assert_allclose(fold_in_inputs(users, matrix, CPU), exact(users, matrix), atol=2e-3)


def test_with_more_items_than_users_a_history_points_where_its_user_does():
    matrix, users = world(n_users=40, n_items=300)
    found = matrix @ fold_in_inputs(users, matrix, CPU)
    cosines = (found * users).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(users, axis=1)
    assert cosines.min() > 0.98


@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (1, 5)])
def test_a_world_of_one_user_or_one_item_has_finite_inputs(shape):
    matrix = sp.csr_matrix(np.ones(shape, np.float32))
    found = fold_in_inputs(np.ones((shape[0], 2), np.float32), matrix, CPU)
    assert found.shape == (shape[1], 2)
    assert np.isfinite(found).all()


def test_users_and_items_without_cells_are_zero_and_change_no_others():
    matrix, users = world()
    padded = sp.csr_matrix((matrix.data, matrix.indices, np.append(matrix.indptr, matrix.indptr[-1])), shape=(61, 41))
    alone, beside = fold_in_inputs(users, matrix, CPU), fold_in_inputs(np.vstack([users, users[:1] * 0]), padded, CPU)
    np.testing.assert_allclose(beside[:-1], alone, atol=1e-5)
    assert not beside[-1].any()
