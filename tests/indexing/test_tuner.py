"""What the tuner tries, by the device that will search."""

import numpy as np
import pytest

from indexing import tuner
from indexing.tuner import GRAPH, tune


@pytest.fixture
def vectors(monkeypatch):
    """Few, so that all is tried soon, and to the end however slow the machine."""
    monkeypatch.setattr(tuner, "EXACT_ROWS", 1_000)
    monkeypatch.setattr(tuner, "BUDGET_S", 1e9)
    monkeypatch.setattr(tuner, "GRAPH_BUILD_S", 1e9)
    return np.random.default_rng(0).standard_normal((1_500, 8)).astype(np.float32)


def test_a_graph_is_tried_for_a_cpu_only_as_a_gpu_does_not_search_it(vectors):
    def tried(**options):
        chosen, points = tune(vectors, vectors[:20], **options)
        factories = [point["factory"] for point in points]
        assert chosen.factory in factories
        return factories

    assert tried(device="cpu")[-1] == GRAPH
    on_gpu = tried(device="cuda")
    assert "Flat" in on_gpu
    assert any(factory.startswith("IVF") for factory in on_gpu)
    assert not any(factory.startswith("HNSW") for factory in on_gpu)
