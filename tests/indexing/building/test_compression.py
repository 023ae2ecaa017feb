"""Size and loss of each kind of compression."""

import numpy as np
import pytest

from indexing.building.compression import compression


def found(n=1200, dim=8):
    vectors = np.random.default_rng(0).standard_normal((n, dim)).astype(np.float32)
    return {row["kind"]: row for row in compression(vectors)}


def test_sizes_are_those_stored_and_errors_grow_as_sizes_shrink():
    rows = found()
    assert [rows[kind]["bytes_per_vector"] for kind in ("float32", "float16", "int8", "pq")] == [32, 16, 8, 2]
    assert rows["int8"]["megabytes"] == pytest.approx((8 * 1200 + 64) / 1e6)
    errors = [rows[kind]["vector_error"] for kind in ("float32", "float16", "int8", "pq")]
    assert errors == sorted(errors)
    assert errors[0] == 0
    assert errors[1] < 1e-6
    assert errors[2] < 1e-3
    assert 0.01 < errors[3] < 0.3
    assert rows["int8"]["recall@10"] > 0.9 > rows["pq"]["recall@10"]


@pytest.mark.parametrize(("n", "dim"), [(1, 3), (5, 7), (30, 1)])
def test_a_handful_of_vectors_of_an_odd_dimension_are_compressed_too(n, dim):
    rows = found(n, dim)
    assert all(np.isfinite(row["vector_error"]) for row in rows.values())


def test_figures_do_not_depend_on_how_long_the_vectors_are():
    vectors = np.random.default_rng(0).standard_normal((1200, 8)).astype(np.float32)
    usual = compression(vectors)
    for number in (1e20, 1e-30):
        for row, before in zip(compression((vectors * number).astype(np.float32)), usual, strict=True):
            assert row["recall@10"] == pytest.approx(before["recall@10"], abs=0.05)
            assert row["vector_error"] < 2 * before["vector_error"] + 1e-12
