"""Imports of feature records: every kind of file, and the tables that are refused."""

import numpy as np
import polars as pl
import pytest

from engine.errors import InputError
from engine.importing import Layout, import_features
from engine.importing.records import read_for_model
from engine.store import features
from engine.values.features import Column

CSV = "id,heat,mode,fault\na,300,L,no\nb,,H,yes\nc,302.5,,no\nb,301,M,no\n"


@pytest.fixture
def load(database, space, tmp_path):
    def load_text(text, name="records.csv", layout=None, **options):
        path = tmp_path / name
        path.write_text(text)
        return import_features(database, space.name, path, layout or Layout("id", label_column="fault"), **options)

    return load_text


@pytest.fixture
def stored(database, space):
    def read():
        with database.begin() as conn:
            return features.read(conn, space.key)

    return read


def test_a_csv_becomes_records_with_missing_values_and_labels_and_the_last_row_of_an_id_wins(load, stored):
    summary = load(CSV)
    assert (summary.read, summary.written, summary.duplicates) == (4, 3, 1)
    found = stored()
    assert dict(zip(found.ids.ids, found.labels, strict=True)) == {"a": "no", "b": "no", "c": "no"}
    assert found.columns == (Column("heat"), Column("mode", ("H", "L", "M")))
    values = dict(zip(found.ids.ids, found.values.tolist(), strict=True))
    assert (values["a"], values["b"]) == ([300, 1], [301, 2])
    assert values["c"][0] == 302.5
    assert np.isnan(values["c"][1])


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv"])
def test_every_kind_of_table_gives_the_same_records(database, space, stored, tmp_path, suffix):
    frame = pl.DataFrame({"id": ["a", "b"], "heat": [300.5, None], "mode": ["L", "H"], "hot": [True, False]})
    path = tmp_path / f"records.{suffix}"
    {"parquet": frame.write_parquet, "jsonl": frame.write_ndjson, "csv": frame.write_csv}[suffix](path)
    import_features(database, space.name, path, Layout("id"))
    found = stored()
    assert found.columns == (Column("heat"), Column("mode", ("H", "L")), Column("hot", ("false", "true")))
    assert np.array_equal(found.values, [[300.5, 1, 1], [np.nan, 0, 0]], equal_nan=True)


def test_images_and_embeddings_are_columns_of_one_unit(database, space, stored, tmp_path):
    images = np.arange(24, dtype=np.uint8).reshape(3, 2, 4)
    np.savez(tmp_path / "images.npz", x=images, y=np.array([7, 8, 7]))
    import_features(database, space.name, tmp_path / "images.npz")
    found = stored()
    assert (found.ids.ids, found.labels) == (("0", "1", "2"), ("7", "8", "7"))
    assert found.columns[5] == Column("x.5", None, "x")
    assert found.values[2].tolist() == list(range(16, 24))
    frame = pl.DataFrame({"id": ["a", "b"], "embedding": [[1.0, 2.0], [3.0, 4.0]]})
    frame.write_parquet(tmp_path / "e.parquet")
    import_features(database, space.name, tmp_path / "e.parquet", Layout("id"), replace=True)
    assert [column.name for column in stored().columns] == ["embedding.0", "embedding.1"]


def test_a_second_file_adds_records_and_new_categories_come_after_the_old(load, stored):
    load(CSV)
    load("fault,mode,heat,id\nyes,X,310,d\nno,L,1,a\n")
    found = stored()
    assert found.columns[1].categories == ("H", "L", "M", "X")
    values = dict(zip(found.ids.ids, found.values.tolist(), strict=True))
    assert (values["d"], values["a"]) == ([310, 3], [1, 1])


def test_replace_deletes_the_earlier_records(load, stored):
    load(CSV)
    load("id,other\nz,1\ny,2\n", layout=Layout("id"), replace=True)
    assert stored().ids.ids == ("y", "z")


@pytest.mark.parametrize(
    ("text", "layout", "message"),
    [
        ("id,heat\na,300\nb,\n", Layout("udi"), "records.csv has no column 'udi'; columns found: id, heat"),
        ("id,heat\na,\nb,\n", Layout("id"), "column 'heat' has no value in any row; leave it out with --ignore heat"),
        ("id,heat\na,1\nb,inf\n", Layout("id"), "column 'heat' has an infinity in row 2"),
        ("id,heat\na,1\n,2\n", Layout("id"), "column 'id' has no id in row 2"),
        ("id\na\n", Layout("id"), "has no feature column"),
        (
            "id,heat\n" + "".join(f"r{n},{n}\n" for n in range(30)) + "x,warm\n",
            Layout("id"),
            "column 'heat' is numeric, got 'warm' in row 31; empty the cell, leave the column out with --ignore heat",
        ),
        ("id,at\na,2026-01-01\n", Layout(ignore=("id",), categorical=("nothing",)), "no column 'nothing'"),
    ],
)
def test_a_bad_table_is_refused_and_nothing_is_written(load, database, space, text, layout, message):
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        load(text, layout=layout)
    with database.connect() as conn:
        assert features.schema(conn, space.key) is None


def test_another_column_set_lists_what_is_missing_and_what_is_unexpected(load, stored):
    load(CSV)
    with pytest.raises(InputError, match="expected the 2 known columns; missing heat; unexpected cold, wet"):
        load("id,cold,mode,wet,fault\nq,1,L,2,no\n")
    assert len(stored()) == 3


def test_records_for_a_model_have_only_its_categories_and_arrays_match_by_position(tmp_path):
    columns = (Column("heat"), Column("mode", ("H", "L")))
    (tmp_path / "new.csv").write_text("mode,heat\nL,3\nX,4\n")
    with pytest.raises(InputError, match="column 'mode' has never had the category 'X'; it knows H, L"):
        read_for_model(tmp_path / "new.csv", Layout(), columns)
    np.save(tmp_path / "new.npy", np.ones((2, 3)))
    with pytest.raises(InputError, match="expected the 2 known columns; missing heat, mode; unexpected"):
        read_for_model(tmp_path / "new.npy", Layout(), columns)
    three = tuple(Column(name) for name in "abc")
    assert read_for_model(tmp_path / "new.npy", Layout(), three).columns == three


def test_a_column_with_a_different_category_in_each_record_is_reported(load):
    text = "item_id,heat\n" + "".join(f"r{n},{n}\n" for n in range(20))
    [note] = load(text, layout=Layout()).notes
    assert note.startswith("column 'item_id' has a different category in each of the 20 records")
    assert "--id item_id" in note
    assert load(text, layout=Layout("item_id"), replace=True).notes == ()
