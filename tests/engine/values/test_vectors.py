"""Vectors: read-only arrays, checked when they are made."""

import numpy as np
import pytest

from engine.errors import InputError
from engine.values.ids import IdMap
from engine.values.vectors import Vectors, check_length, check_vector, normalise_rows, rescale_extremes, row_lengths


def test_a_good_vector_comes_in_as_float32():
    vector = check_vector([1, 0.5, -2], 3)
    assert vector.dtype == np.float32
    assert vector.tolist() == [1.0, 0.5, -2.0]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([1.0, 2.0], "expected 3 dimensions, got shape (2,)"),
        ([], "expected 3 dimensions, got shape (0,)"),
        ([[1.0, 2.0, 3.0]], "expected 3 dimensions, got shape (1, 3)"),
        (5.0, "expected 3 dimensions, got shape ()"),
        ([1.0, float("nan"), 0.0], "a vector has only finite float32 numbers, got NaN or infinity"),
        ([1.0, float("inf"), 0.0], "a vector has only finite float32 numbers, got NaN or infinity"),
        ([1.0, 1e39, 0.0], "a vector has only finite float32 numbers, got NaN or infinity"),
        ([0.0, 0.0, 0.0], "a zero vector has no direction to search in"),
        ([1e-60, 0.0, 0.0], "a zero vector has no direction to search in"),
        (["a", "b", "c"], "a vector is a list of numbers"),
        ([[1.0], [1.0, 2.0], 3.0], "a vector is a list of numbers"),
        ([10**400, 1, 1], "a vector is a list of numbers"),
        ({"x": 1}, "a vector is a list of numbers"),
        (None, "expected 3 dimensions, got shape ()"),
    ],
)
def test_a_vector_that_cannot_be_searched_is_refused_naming_the_field(values, sentence):
    with pytest.raises(InputError) as told:
        check_vector(values, 3, loc=("body", "vector"))
    assert str(told.value) == sentence
    assert told.value.problems[0].loc == ("body", "vector")


def test_the_matrix_of_vectors_cannot_be_written_and_the_callers_own_can():
    own = np.ones((2, 3), np.float32)
    vectors = Vectors(IdMap(["a", "b"]), own)
    with pytest.raises(ValueError, match="read-only"):
        vectors.matrix[0, 0] = 5
    own[0, 0] = 5
    assert (len(vectors), vectors.dim) == (2, 3)


@pytest.mark.parametrize("matrix", [np.ones((3, 2), np.float32), np.ones((2, 2)), np.ones(2, np.float32)])
def test_a_matrix_of_another_shape_or_type_is_refused(matrix):
    with pytest.raises(InputError, match=r"expected a \(2, dim\) float32 matrix"):
        Vectors(IdMap(["a", "b"]), matrix)


FAR = np.array([[1e20] * 8, [1e-30] * 8, [3e38] * 8, [1e-44] * 8, [0] * 8], np.float32)


def test_lengths_and_unit_vectors_are_right_from_one_end_of_float32_to_the_other():
    assert row_lengths(FAR[:3]) == pytest.approx([2.8284271e20, 2.8284271e-30, 8.4852814e38])
    assert normalise_rows(FAR) @ np.full(8, 8**-0.5) == pytest.approx([1, 1, 1, 1, 0])
    assert normalise_rows(FAR).dtype == np.float32


def test_a_very_long_or_short_query_is_scaled_to_a_length_that_products_can_hold():
    usual = np.array([[3, 4, 0]], np.float32)
    assert rescale_extremes(usual) is usual
    made = rescale_extremes(FAR)
    assert np.array_equal(normalise_rows(made), normalise_rows(FAR))
    assert ((row_lengths(made)[:4] >= 0.5) & (row_lengths(made)[:4] <= 1)).all()
    assert not made[4].any()


def test_under_the_inner_product_a_length_whose_products_overflow_float32_is_rejected():
    assert check_length(np.array([3, 4], np.float32), 1e7).tolist() == [3, 4]
    for number, got in ((1e20, "1.4e\\+20"), (1e-30, "1.4e-30")):
        with pytest.raises(InputError, match=f"expected a length of 1e-07 to 1e\\+07, got {got}; scale the vector"):
            check_length(np.array([number, number], np.float32), 1e7)
