"""FeatureCodec: a vector that decodes to values beyond float32 is refused."""

from dataclasses import replace

import numpy as np
import pytest

from engine.embedders.feature_embedders import registry
from engine.errors import InputError
from engine.learning.train_features import train_features


@pytest.fixture(scope="module")
def machine(sensors):
    return train_features(sensors, registry.make("pca", {"dim": 4})).codec


def test_a_vector_that_decodes_to_no_numbers_is_refused(machine):
    vectors = np.array([[0] * 4, [3e38] * 4], np.float32)
    machine = replace(machine, core=replace(machine.core, components=10 * machine.core.components))
    with pytest.raises(InputError, match="vector 1 decodes to numbers beyond float32; expected one like those that"):
        machine.decode(vectors)
