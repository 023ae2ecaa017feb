"""Score levels are quantiles of the scores between users and items, and between different items."""

import numpy as np
import pytest

from indexing.building.score_levels import score_levels


def test_the_levels_are_quantiles_of_all_pairs() -> None:
    draw = np.random.default_rng(1)
    users, items = draw.normal(size=(50, 4)).astype(np.float32), draw.normal(size=(80, 4)).astype(np.float32)
    found = score_levels(users, items, items, "dot")
    scores = np.sort((users @ items.T).ravel())
    assert found["users_to_items"]["low"] == pytest.approx(np.median(scores))
    assert (scores > found["users_to_items"]["high"]).mean() == pytest.approx(0.01, abs=0.002)
    unit = items / np.linalg.norm(items, axis=1, keepdims=True)
    alike = (unit @ unit.T)[~np.eye(80, dtype=bool)]
    assert found["items_to_items"]["medium"] == pytest.approx(np.quantile(alike, 0.9), abs=1e-5)


def test_vectors_of_zeros_do_not_count_and_a_space_without_users_has_no_levels_for_them() -> None:
    items = np.array([[1, 0], [0, 1], [1, 1], [0, 0], [0, 0]], np.float32)
    with_zeros = score_levels(np.zeros((0, 2), np.float32), items, items, "cosine")
    assert list(with_zeros) == ["items_to_items"]
    assert with_zeros == score_levels(np.zeros((0, 2), np.float32), items[:3], items[:3], "cosine")
