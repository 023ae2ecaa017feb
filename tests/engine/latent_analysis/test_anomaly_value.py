"""The value of anomaly detection: counted by hand on ten records, and on machines with known faults."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from engine.embedders.feature_embedders import registry
from engine.latent_analysis import anomaly_value
from engine.learning.train_features import train_features
from engine.values.features import Column
from tests.engine.latent_analysis.machines import machines


def test_ten_records_counted_by_hand():
    scores = np.array([9, 8, 1, 7, 1, 2, 1, 3, 1, 1.0])
    bad = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0, 0], bool)
    found = anomaly_value.figures(scores, bad, 5.0)
    assert (found["flagged"], found["found"], found["bad"]) == (3, 2, 3)
    assert found["recall"] == pytest.approx(2 / 3)
    assert found["precision"] == pytest.approx(2 / 3)
    assert found["false_alarms"] == pytest.approx(1 / 7)
    assert found["reviews_saved"] == 7 - 3  # random review needs seven of ten for two in three; three were enough
    assert found["error_reduction"] == pytest.approx(1 - 1 / 2.1)  # three random reviews miss 2.1 of three
    assert found["auc_roc"] == pytest.approx(roc_auc_score(bad, scores))


@pytest.mark.parametrize(
    ("labels", "normal", "bad"),
    [
        (("0", "0", "1"), None, [False, False, True]),
        (("a", "b", "c", None), "a", [False, True, True, False]),
        (("a", "b", "c"), None, None),
        (("a", "b"), None, None),
        (("a", "a"), None, None),
        (None, "a", None),
    ],
)
def test_labels_decide_which_records_are_bad(labels, normal, bad):
    found = anomaly_value.bad_records(labels, normal)
    assert found is None if bad is None else found.tolist() == bad


def test_figures_are_kept_with_a_version_and_training_records_do_not_explain_themselves(make_features):
    frame = machines()
    values = frame.select("heat", "pressure", "speed").to_numpy().astype(float)
    features = make_features(values, tuple(Column(name) for name in "abc"), tuple(frame["state"].to_list()))
    made = train_features(features, registry.make("pca", {"dim": 2}), normal="fine")
    found = made.evaluation["kpis"]["detection"]
    assert (found["bad"], found["found"], found["recall"]) == (6, 6, 1.0)
    assert found["false_alarms"] == pytest.approx(0.01, abs=0.005)
    assert found["auc_roc"] > 0.99
    assert made.evaluation["learnt_from"] == 294
