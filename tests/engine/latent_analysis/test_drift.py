"""Drift: records of the same distribution raise no alert, shifted ones do and are named; figures agree with scipy."""

import numpy as np
import pytest
from scipy.stats import ks_2samp

from engine.embedders.feature_embedders import registry
from engine.errors import InputError, NotEnoughData
from engine.latent_analysis import drift
from engine.learning.train_features import train_features
from engine.values.features import Column
from engine.values.lenient_records import LenientRecords, parse_records


def readings(n, seed, shift=0.0):
    draw = np.random.default_rng(seed)
    cause = draw.normal(0, 1, (n, 2))
    return np.concatenate([cause, cause @ [[1, 2], [0.5, -1]] + draw.normal(0, 0.1, (n, 2))], axis=1) + shift


@pytest.fixture(scope="module")
def codec(make_features):
    return train_features(make_features(readings(2000, 1)), registry.make("pca", {"dim": 3})).codec


@pytest.mark.parametrize("seed", range(2, 7))
def test_fresh_records_of_the_same_kind_raise_no_alert(codec, seed):
    found = drift.measure(codec, readings(200, seed))
    assert (found["alert"], found["moved"]) == (False, [])
    assert len(found["distributions"]) == 4


def test_records_that_moved_raise_one_and_say_where(codec):
    found = drift.measure(codec, readings(200, 2, shift=[0, 0, 3, 0]))
    assert found["alert"]
    assert "reconstruction_error" in found["moved"]
    assert found["psi"] > 1
    assert drift.measure(codec, readings(200, 2, shift=[0.2, 0, 0, 0]), alert=50)["alert"] is False


@pytest.fixture(scope="module")
def machine(sensors):
    return train_features(sensors, registry.make("pca", {"dim": 4})).codec


def test_an_unseen_category_is_drift_by_its_share_and_is_named(machine, sensors):
    values = sensors.values[:200].copy()
    names = (*sensors.columns[:3], Column("mode", ("L", "M", "H", "X")))
    values[7, 3] = 3
    one = drift.measure(machine, LenientRecords(names, values))
    assert (one["alert"], one["unseen"], one["records"]) == (False, {"mode": {"X": 1}}, 200)
    assert next(row for row in one["distributions"] if row["of"] == "unseen.mode")["ks"] == 0.005
    values[:20, 3] = 3
    tenth = drift.measure(machine, LenientRecords(names, values))
    assert (tenth["alert"], tenth["moved"], tenth["unseen"]) == (True, ["unseen.mode"], {"mode": {"X": 20}})


def test_a_file_of_which_nothing_can_be_read_raises_the_alarm(machine, sensors):
    nothing = drift.measure(machine, np.full((60, 4), np.nan))
    assert (nothing["alert"], nothing["records_with_nothing_read"]) == (True, 60)
    assert {"missing.heat", "missing.mode"} <= set(nothing["moved"])
    text = [dict.fromkeys(("heat", "pressure", "speed", "mode"), "?") for _ in range(60)]
    unread = drift.measure(machine, parse_records(sensors.columns, text))
    assert unread["alert"]
    assert unread["unseen"] == {name: {"?": 60} for name in ("heat", "pressure", "speed", "mode")}


def test_a_column_that_is_no_longer_filled_is_drift_and_one_filled_as_in_training_is_not(machine, sensors):
    values = sensors.values.copy()
    assert drift.measure(machine, values)["alert"] is False
    values[:100, 0] = np.nan
    assert "missing.heat" in drift.measure(machine, values)["moved"]


def test_figures_are_those_of_scipy_up_to_the_spacing_of_the_quantiles():
    draw = np.random.default_rng(0)
    before, after = draw.normal(0, 1, 5000), draw.normal(0.5, 1, 800)
    quantiles = np.quantile(before, np.linspace(0, 1, 1001))
    assert drift.ks(quantiles, after) == pytest.approx(ks_2samp(before, after).statistic, abs=0.003)
    edges = np.quantile(before, np.linspace(0, 1, 11)[1:-1])
    p, q = (np.bincount(np.searchsorted(edges, each), minlength=10) / len(each) for each in (before, after))
    assert drift.psi(quantiles, after) == pytest.approx(((q - p) * np.log(q / p)).sum(), abs=0.01)
    assert drift.psi(quantiles, before) < 0.001


def test_too_few_records_and_an_alert_of_zero_are_refused(codec):
    with pytest.raises(NotEnoughData, match="expected at least 50 recent records to compare, got 49"):
        drift.measure(codec, readings(49, 2))
    with pytest.raises(InputError, match="expected a threshold above 0"):
        drift.measure(codec, readings(60, 2), alert=0)
