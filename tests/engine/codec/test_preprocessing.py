"""Preprocessing equals scikit-learn's, and a table that cannot be learnt from is one clear error."""

import numpy as np
import pytest
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from engine.codec import preprocessing
from engine.errors import InputError
from engine.values.features import Column, from_records, to_records


def test_numbers_and_categories_are_prepared_as_scikit_learn_does(sensors):
    fitted = preprocessing.fit(sensors)
    prepared = fitted.apply(sensors.values)
    numeric = make_pipeline(SimpleImputer(), StandardScaler())
    numeric.fit(sensors.values[~np.isnan(sensors.values[:, 2])][:, :3])
    scaler = StandardScaler().fit(sensors.values[:, :3])  # ignores NaN in mean and scale, as we do
    expected = np.nan_to_num(scaler.transform(sensors.values[:, :3]))
    there = ~np.isnan(sensors.values[:, 3])
    hot = OneHotEncoder(sparse_output=False).fit_transform(sensors.values[there, 3:])
    assert np.allclose(prepared[:, :3], expected, atol=1e-5)
    assert np.array_equal(prepared[there, 3:], hot)
    assert not prepared[~there, 3:].any()


def test_prepared_values_are_restored_unchanged(sensors):
    fitted = preprocessing.fit(sensors)
    again = fitted.invert(fitted.apply(sensors.values))
    there = ~np.isnan(sensors.values)
    assert np.allclose(again[there], sensors.values[there], rtol=1e-5)


def test_columns_of_one_unit_keep_their_proportions(make_features):
    pixels = tuple(Column(f"p{at}", None, "pixels") for at in range(3))
    values = np.array([[0, 0, 10], [0, 2, 30], [0, 4, 50]])
    prepared = preprocessing.fit(make_features(values, pixels)).apply(values.astype(np.float64))
    assert not prepared[:, 0].any()
    assert prepared[2, 2] / prepared[2, 1] == pytest.approx(10)


def test_float32_rows_are_prepared_as_float64_ones_are(curved):
    fitted = preprocessing.fit(curved)
    assert np.allclose(fitted.apply(curved.values.astype(np.float32)), fitted.apply(curved.values), atol=1e-4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[1.0, 2.0]], "expected at least 2 records"),
        ([[1, np.nan], [2, np.nan]], "column 'c1' has no value in any record"),
        ([[1, 7], [1, 7]], "every column is constant"),
        ([[1, np.inf], [2, 3]], "column 'c1' has an infinity in row 1"),
    ],
)
def test_a_table_that_says_nothing_is_one_clear_error(make_features, values, message):
    with pytest.raises(InputError, match=message):
        preprocessing.fit(make_features(values))


def test_a_constant_column_takes_no_place_and_comes_back(make_features):
    columns = (Column("a"), Column("still", ("on", "off")), Column("b"), Column("flat"))
    features = make_features([[1, 1, 5, 7], [2, 1, 6, 7], [4, 1, 9, 7]], columns)
    fitted = preprocessing.fit(features)
    prepared = fitted.apply(features.values)
    assert prepared.shape == (3, 2)
    assert fitted.invert(prepared) == pytest.approx(features.values)
    assert fitted.by_column(prepared**2).shape == (3, 4)
    assert preprocessing.dropped_message(fitted) == (
        "columns 'still', 'flat' have one value in every record: not learnt from, and restored when a vector is decoded"
    )
    again = preprocessing.restore([column.to_json() for column in columns], fitted.state())
    assert again.invert(again.apply(features.values)) == pytest.approx(features.values)
    changed = fitted.changed_constants(np.array([[1, 0, 5, 7.5], [1, 1, 5, 7 + 1e-9]]))
    assert changed.tolist() == [[False] * 3 + [True], [False] * 4]
    assert fitted.unseen(np.array([[1, 0, 5, 7.5], [np.inf, 1, 5, 7]])).tolist() == [
        [False, True, False, False],
        [True, False, False, False],
    ]


def test_a_constant_column_can_be_kept(make_features):
    fitted = preprocessing.fit(make_features([[1, 7], [2, 7]]), keep_constant=True)
    assert not fitted.apply(np.array([[1.0, 7.0]]))[:, 1].any()


def test_records_are_read_by_name_and_come_back(sensors):
    records = [{"mode": "H", "heat": 300, "speed": None, "pressure": "601.5"}]
    values = from_records(sensors.columns, records)
    assert values[0, [0, 1, 3]].tolist() == [300, 601.5, 2]
    assert to_records(sensors.columns, values) == [{"heat": 300.0, "pressure": 601.5, "speed": None, "mode": "H"}]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"heat": "warm"}, "column 'heat' is numeric, got 'warm'"),
        ({"heat": float("inf")}, "column 'heat' has an infinity"),
        ({"mode": "X"}, "column 'mode' has never had the category 'X'; it knows L, M, H"),
        ({"colour": 1}, "unexpected colour"),
        ({"heat": [1]}, "column 'heat' is numeric, got \\[1\\]"),
    ],
)
def test_a_record_that_does_not_fit_says_where(sensors, changed, message):
    with pytest.raises(InputError, match=message):
        from_records(sensors.columns, [{"heat": 1, "pressure": 2, "speed": 3, "mode": "L"} | changed])


def test_another_column_set_lists_what_is_missing_and_what_is_unexpected(sensors):
    with pytest.raises(InputError, match="missing pressure, speed; unexpected colour"):
        from_records(sensors.columns, [{"heat": 1, "mode": "L", "colour": 1}])


def test_a_value_at_the_end_of_float_is_one_of_many_scales_and_hides_no_other(make_features):
    values = np.random.default_rng(0).normal(0, 1, (200, 3))
    values[:2, 1] = -1.7e308, 1.7e308
    fitted = preprocessing.fit(make_features(values))
    assert np.isfinite(fitted.scale).all()
    assert fitted.apply(np.array([[1e30, 0, 0], [0, 0, -1e308]]))[[0, 1], [0, 2]].tolist() == [1e9, -1e9]
    assert fitted.apply(np.array([[3e38, 0, 0]], np.float32))[0, 0] == 1e9
