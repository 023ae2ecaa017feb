"""Records with an obvious answer: a few hidden causes behind every column, and one record that breaks their rule."""

from __future__ import annotations

import numpy as np
import pytest

from engine.values.features import Column, Features
from engine.values.ids import IdMap


def features_of(values, columns=None, labels=None) -> Features:
    values = np.asarray(values, np.float64)
    columns = columns or tuple(Column(f"c{at}") for at in range(values.shape[1]))
    return Features(IdMap(f"r{row}" for row in range(len(values))), columns, values, labels)


@pytest.fixture(scope="session")
def make_features():
    return features_of


@pytest.fixture(scope="session")
def curved() -> Features:
    """600 records on a bent sheet: two causes, twelve columns, a little noise; labelled by the sign of the first."""
    draw = np.random.default_rng(5)
    causes = draw.uniform(-1.5, 1.5, (600, 2))
    shapes = [causes, causes**2, np.sin(2 * causes), np.cos(2 * causes), causes[:, :1] * causes, np.abs(causes)]
    values = np.concatenate(shapes, axis=1) * np.arange(1, 13) + 100
    values += draw.normal(0, 0.01, values.shape)
    labels = tuple("right" if first > 0 else "left" for first in causes[:, 0])
    return features_of(values, labels=labels)


@pytest.fixture(scope="session")
def sensors() -> Features:
    """400 machine records: pressure follows temperature, one mode in three, some cells missing."""
    draw = np.random.default_rng(6)
    heat = draw.normal(300, 5, 400)
    mode = draw.integers(0, 3, 400).astype(float)
    values = np.stack([heat, heat * 2 + draw.normal(0, 0.5, 400), draw.normal(1500, 100, 400), mode], axis=1)
    values[::40, 2] = np.nan
    values[::50, 3] = np.nan
    columns = (Column("heat"), Column("pressure"), Column("speed"), Column("mode", ("L", "M", "H")))
    return features_of(values, columns)
