"""Interpolation: equal steps on a straight line, with both ends."""

import numpy as np
import pytest

from engine.errors import InputError
from engine.latent_analysis.interpolation import interpolate


def test_interpolation_goes_straight_from_one_end_to_the_other():
    start, end = np.zeros(3, np.float32), np.array([2, 4, 6], np.float32)
    assert interpolate(start, end, 3).tolist() == [[0, 0, 0], [1, 2, 3], [2, 4, 6]]
    with pytest.raises(InputError, match="at least 2 steps"):
        interpolate(start, end, 1)
