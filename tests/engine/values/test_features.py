"""Values of a request that a column cannot hold are refused with an error that says so."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import InputError
from engine.values.features import Column, from_rows

HEAT, MODE = Column("heat"), Column("mode", ("H", "L"))


def nested(depth: int) -> list[object]:
    made: list[object] = []
    for _ in range(depth):
        made = [made]
    return made


def test_rows_of_numbers_are_taken_as_they_are():
    assert from_rows([HEAT], [[1], [2.5]]).tolist() == [[1], [2.5]]
    assert np.isnan(from_rows([HEAT, MODE], [[None, "L"]])[0, 0])


@pytest.mark.parametrize(
    ("columns", "row", "message"),
    [
        ((HEAT,), [10**400], "column 'heat' is numeric, got 1000"),
        ((HEAT, MODE), [10**400, "L"], "column 'heat' is numeric, got 1000"),
        ((HEAT,), nested(2000), "unexpected heat.0|column 'heat' is numeric"),
        ((HEAT, MODE), [1, {"deep": nested(2000)}], "never had the category"),
        ((HEAT,), {"deep": nested(2000)}, "expected a row of 1 values in column order, got a dict that nests too deep"),
    ],
)
def test_values_that_no_column_can_hold_are_refused(columns, row, message):
    with pytest.raises(InputError, match=message):
        from_rows(columns, [row])
