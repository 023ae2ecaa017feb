"""Anomalies, reconstruction, interpolation: the odd record stands out, and through the column that is off."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.manifold import trustworthiness as reference_trustworthiness
from sklearn.metrics import silhouette_score

from engine.codec import preprocessing
from engine.codec.feature_codec import restore as codec_restore
from engine.embedders.feature_embedders import registry
from engine.errors import InputError
from engine.latent_analysis import anomalies as operations
from engine.latent_analysis import kpis
from engine.learning.train_features import train_features
from engine.values import lenient_records
from engine.values.features import Column


@pytest.fixture(scope="module")
def machine(sensors):
    return train_features(sensors, registry.make("pca", {"dim": 4})).codec


def test_a_record_that_breaks_the_rule_is_flagged_through_its_column(machine, sensors):
    normal, broken = np.array([300, 600, 1500, 1.0]), np.array([300, 560, 1500, 1.0])
    found = operations.anomalies(machine, np.stack([normal, broken]), false_alarm_rate=0.02)
    assert found.flags.tolist() == [False, True]
    assert sensors.columns[found.contributions[1].argmax()].name in ("pressure", "heat")
    assert found.contributions.sum(axis=1) == pytest.approx([1, 1])


def test_the_threshold_leaves_the_wanted_share_of_fresh_normal_records_above_it(machine):
    draw = np.random.default_rng(77)
    heat = draw.normal(300, 5, 4000)
    fresh = np.stack([heat, heat * 2 + draw.normal(0, 0.5, 4000), draw.normal(1500, 100, 4000)], axis=1)
    fresh = np.concatenate([fresh, draw.integers(0, 3, (4000, 1))], axis=1)
    flagged = operations.anomalies(machine, fresh, false_alarm_rate=0.05).flags.mean()
    assert 0.02 < flagged < 0.09
    same = operations.anomalies(machine, fresh, quantile=0.95)
    assert same.flags.mean() == flagged


def test_what_training_never_had_is_odder_than_all_of_it_and_named(machine, sensors):
    good = {"heat": 300, "pressure": 600, "speed": 1500, "mode": "L"}
    odd = [good, good | {"mode": "X"}, good | {"speed": "fast"}, good | {"heat": float("inf")}, dict.fromkeys(good)]
    given = lenient_records.parse_records(sensors.columns, odd)
    assert [record["mode"] for record in given.to_records()] == ["L", "X", "L", "L", None]
    assert [given.to_records()[2]["speed"], given.to_records()[3]["heat"]] == ["fast", "infinity"]
    found = operations.anomalies(machine, given.values, false_alarm_rate=0)
    assert found.flags.tolist() == [False, True, True, True, True]
    names = [sensors.columns[at].name for at in found.contributions.argmax(axis=1)]
    assert names[1:4] == ["mode", "speed", "heat"]
    assert found.contributions.sum(axis=1) == pytest.approx(np.ones(5))
    assert operations.anomalies(
        machine, lenient_records.parse_rows(sensors.columns, [[300, 600, 1500, "X"]]).values
    ).flags[0]


def test_a_category_that_only_bad_records_have_is_unseen_too(make_features):
    draw = np.random.default_rng(0)
    values = np.column_stack([draw.normal(0, 1, 200), draw.integers(0, 2, 200), draw.normal(0, 1, 200)])
    values[-5:, 1] = 2
    columns = (Column("a"), Column("mode", ("L", "M", "broken")), Column("b"))
    labels = ("fine",) * 195 + ("bad",) * 5
    made = train_features(make_features(values, columns, labels), registry.make("pca"), normal="fine")
    assert operations.anomalies(made.codec, values[-5:], false_alarm_rate=0).flags.all()
    assert made.evaluation["kpis"]["detection"]["recall"] == 1


def test_a_number_that_never_changed_is_odd_once_it_does(make_features):
    draw = np.random.default_rng(0)
    values = np.column_stack([draw.normal(0, 1, 300), np.full(300, 7.0), draw.normal(0, 1, 300)])
    made = train_features(make_features(values), registry.make("pca"))
    assert "column 'c1' has one value in every record" in made.evaluation["dropped"]
    found = operations.anomalies(made.codec, np.array([[0, 7, 0], [0, 8, 0]]))
    assert found.flags.tolist() == [False, True]
    assert (found.contributions[1].argmax(), found.expected[1, 1]) == (1, 7)


def test_a_record_apart_from_a_dense_crowd_is_odder_than_one_as_far_from_a_loose_one(make_features):
    draw = np.random.default_rng(0)
    dense_crowd, loose = draw.normal(0, 0.01, (300, 2)), draw.normal(0, 0.3, (300, 2)) + 10
    codec = train_features(make_features(np.concatenate([dense_crowd, loose])), registry.make("pca", {"dim": 2})).codec
    near_dense, near_loose = operations.anomalies(codec, np.array([[0.8, 0.8], [10.8, 10.8]])).scores
    assert near_dense > 2 * near_loose


def test_a_model_from_before_the_spread_was_kept_is_judged_by_its_own_quantiles(machine, sensors):
    old = replace(machine, normal=replace(machine.normal, spread=None))
    name, arrays = old.state()
    assert "normal.spread" not in arrays
    again = codec_restore(name, arrays)
    found = operations.anomalies(again, sensors.values[1:9])
    prepared = again.preprocessing.apply(sensors.values[1:9])
    explained = operations.explain(again.core, again.normal.memory, prepared, known=True).expected
    assert found.scores == pytest.approx(((prepared - explained) ** 2).mean(axis=1), rel=1e-4)


def test_a_share_that_is_none_is_refused(machine, sensors):
    for rate in (-0.1, 1.0):
        with pytest.raises(InputError, match="expected a false-alarm rate of 0 to below 1"):
            operations.anomalies(machine, sensors.values, false_alarm_rate=rate)


def test_a_reconstruction_comes_with_its_error(machine, sensors):
    again, errors = operations.reconstruct(machine, sensors.values[1:3])
    assert np.allclose(again[:, 0], sensors.values[1:3, 0], atol=1)
    assert errors.shape == (2,)
    prepared = machine.preprocessing.apply(sensors.values[1:3])
    assert errors == pytest.approx(((prepared - machine.core.decode(machine.core.encode(prepared))) ** 2).mean(axis=1))


def test_a_vector_that_decodes_to_no_numbers_is_refused(machine):
    vectors = np.array([[0] * 4, [3e38] * 4], np.float32)
    machine = replace(machine, core=replace(machine.core, components=10 * machine.core.components))
    with pytest.raises(InputError, match="vector 1 decodes to numbers beyond float32; expected one like those that"):
        machine.decode(vectors)


def test_a_value_at_the_end_of_float_is_one_of_many_scales_and_hides_no_other(make_features):
    values = np.random.default_rng(0).normal(0, 1, (200, 3))
    values[:2, 1] = -1.7e308, 1.7e308
    fitted = preprocessing.fit(make_features(values))
    assert np.isfinite(fitted.scale).all()
    assert fitted.apply(np.array([[1e30, 0, 0], [0, 0, -1e308]]))[[0, 1], [0, 2]].tolist() == [1e9, -1e9]
    assert fitted.apply(np.array([[3e38, 0, 0]], np.float32))[0, 0] == 1e9


def test_interpolation_goes_straight_from_one_end_to_the_other():
    start, end = np.zeros(3, np.float32), np.array([2, 4, 6], np.float32)
    assert operations.interpolate(start, end, 3).tolist() == [[0, 0, 0], [1, 2, 3], [2, 4, 6]]
    with pytest.raises(InputError, match="at least 2 steps"):
        operations.interpolate(start, end, 1)


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
