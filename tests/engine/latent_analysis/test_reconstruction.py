"""Reconstruction: records come back with the error of each."""

import numpy as np
import pytest

from engine.embedders.feature_embedders import registry
from engine.latent_analysis.reconstruction import reconstruct
from engine.learning.train_features import train_features


@pytest.fixture(scope="module")
def machine(sensors):
    return train_features(sensors, registry.make("pca", {"dim": 4})).codec


def test_a_reconstruction_comes_with_its_error(machine, sensors):
    again, errors = reconstruct(machine, sensors.values[1:3])
    assert np.allclose(again[:, 0], sensors.values[1:3, 0], atol=1)
    assert errors.shape == (2,)
    prepared = machine.preprocessing.apply(sensors.values[1:3])
    assert errors == pytest.approx(((prepared - machine.core.decode(machine.core.encode(prepared))) ** 2).mean(axis=1))
