"""KPIs of a model of records: they agree with scikit-learn, and a trained version has them all."""

import numpy as np
import pytest
from sklearn.manifold import trustworthiness as reference_trustworthiness
from sklearn.metrics import silhouette_score

from engine.embedders.feature_embedders import registry
from engine.latent_analysis import kpis
from engine.learning.train_features import train_features


def test_figures_agree_with_scikit_learn(curved):
    points = curved.values.astype(np.float32)[:200]
    groups = np.array([label == "left" for label in curved.labels[:200]], np.int64)
    assert kpis.silhouette(points, groups) == pytest.approx(silhouette_score(points, groups), abs=1e-5)
    flat = points[:, :2]
    expected = reference_trustworthiness(points, flat, n_neighbors=10)
    assert kpis.trustworthiness(points, flat) == pytest.approx(expected, abs=1e-6)


def test_the_figures_of_a_version_are_all_there(curved):
    found = train_features(curved, registry.make("vqvae", {"dim": 2, "epochs": 3})).evaluation["kpis"]
    assert found["reduction_ratio"] == 6
    assert found["silhouette_by"] == "label"
    assert 0 < found["explained_variance"] <= 1
    assert 1 < found["codebook_perplexity"] <= 256
    assert 0 < found["encode_ms_p50"] <= found["encode_ms_p99"]
    variational = train_features(curved, registry.make("vae", {"dim": 2, "epochs": 3})).evaluation["kpis"]
    assert len(variational["kl_per_dimension"]) == 2
    assert variational["active_units"] == 2
