"""Anomalies: an anomalous record is flagged, with the column that causes it."""

from dataclasses import replace

import numpy as np
import pytest

from engine.codec.feature_codec import restore as codec_restore
from engine.embedders.feature_embedders import registry
from engine.errors import InputError
from engine.latent_analysis.anomalies import anomalies, explain
from engine.learning.train_features import train_features
from engine.values import lenient_records
from engine.values.features import Column


@pytest.fixture(scope="module")
def machine(sensors):
    return train_features(sensors, registry.make("pca", {"dim": 4})).codec


def test_a_record_that_breaks_the_rule_is_flagged_through_its_column(machine, sensors):
    normal, broken = np.array([300, 600, 1500, 1.0]), np.array([300, 560, 1500, 1.0])
    found = anomalies(machine, np.stack([normal, broken]), false_alarm_rate=0.02)
    assert found.flags.tolist() == [False, True]
    assert sensors.columns[found.contributions[1].argmax()].name in ("pressure", "heat")
    assert found.contributions.sum(axis=1) == pytest.approx([1, 1])


def test_the_threshold_leaves_the_wanted_share_of_fresh_normal_records_above_it(machine):
    draw = np.random.default_rng(77)
    heat = draw.normal(300, 5, 4000)
    fresh = np.stack([heat, heat * 2 + draw.normal(0, 0.5, 4000), draw.normal(1500, 100, 4000)], axis=1)
    fresh = np.concatenate([fresh, draw.integers(0, 3, (4000, 1))], axis=1)
    flagged = anomalies(machine, fresh, false_alarm_rate=0.05).flags.mean()
    assert 0.02 < flagged < 0.09
    same = anomalies(machine, fresh, quantile=0.95)
    assert same.flags.mean() == flagged


def test_an_unseen_category_scores_above_all_training_records_and_is_named(machine, sensors):
    good = {"heat": 300, "pressure": 600, "speed": 1500, "mode": "L"}
    odd = [good, good | {"mode": "X"}, good | {"speed": "fast"}, good | {"heat": float("inf")}, dict.fromkeys(good)]
    given = lenient_records.parse_records(sensors.columns, odd)
    assert [record["mode"] for record in given.to_records()] == ["L", "X", "L", "L", None]
    assert [given.to_records()[2]["speed"], given.to_records()[3]["heat"]] == ["fast", "infinity"]
    found = anomalies(machine, given.values, false_alarm_rate=0)
    assert found.flags.tolist() == [False, True, True, True, True]
    names = [sensors.columns[at].name for at in found.contributions.argmax(axis=1)]
    assert names[1:4] == ["mode", "speed", "heat"]
    assert found.contributions.sum(axis=1) == pytest.approx(np.ones(5))
    assert anomalies(machine, lenient_records.parse_rows(sensors.columns, [[300, 600, 1500, "X"]]).values).flags[0]


def test_a_category_that_only_bad_records_have_is_unseen_too(make_features):
    draw = np.random.default_rng(0)
    values = np.column_stack([draw.normal(0, 1, 200), draw.integers(0, 2, 200), draw.normal(0, 1, 200)])
    values[-5:, 1] = 2
    columns = (Column("a"), Column("mode", ("L", "M", "broken")), Column("b"))
    labels = ("fine",) * 195 + ("bad",) * 5
    made = train_features(make_features(values, columns, labels), registry.make("pca"), normal="fine")
    assert anomalies(made.codec, values[-5:], false_alarm_rate=0).flags.all()
    assert made.evaluation["kpis"]["detection"]["recall"] == 1


def test_a_number_that_never_changed_is_odd_once_it_does(make_features):
    draw = np.random.default_rng(0)
    values = np.column_stack([draw.normal(0, 1, 300), np.full(300, 7.0), draw.normal(0, 1, 300)])
    made = train_features(make_features(values), registry.make("pca"))
    assert "column 'c1' has one value in every record" in made.evaluation["dropped"]
    found = anomalies(made.codec, np.array([[0, 7, 0], [0, 8, 0]]))
    assert found.flags.tolist() == [False, True]
    assert (found.contributions[1].argmax(), found.expected[1, 1]) == (1, 7)


def test_a_record_near_a_dense_group_scores_above_one_as_far_from_a_sparse_group(make_features):
    draw = np.random.default_rng(0)
    dense_crowd, loose = draw.normal(0, 0.01, (300, 2)), draw.normal(0, 0.3, (300, 2)) + 10
    codec = train_features(make_features(np.concatenate([dense_crowd, loose])), registry.make("pca", {"dim": 2})).codec
    near_dense, near_loose = anomalies(codec, np.array([[0.8, 0.8], [10.8, 10.8]])).scores
    assert near_dense > 2 * near_loose


def test_a_model_from_before_the_spread_was_kept_is_judged_by_its_own_quantiles(machine, sensors):
    old = replace(machine, normal=replace(machine.normal, spread=None))
    name, arrays = old.state()
    assert "normal.spread" not in arrays
    again = codec_restore(name, arrays)
    found = anomalies(again, sensors.values[1:9])
    prepared = again.preprocessing.apply(sensors.values[1:9])
    explained = explain(again.core, again.normal.memory, prepared, known=True).expected
    assert found.scores == pytest.approx(((prepared - explained) ** 2).mean(axis=1), rel=1e-4)


def test_a_share_that_is_none_is_refused(machine, sensors):
    for rate in (-0.1, 1.0):
        with pytest.raises(InputError, match="expected a false-alarm rate of 0 to below 1"):
            anomalies(machine, sensors.values, false_alarm_rate=rate)
