"""Feature records on the command line: import, training, encoding, anomalies, interpolation, and errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.engine.latent_analysis.machines import BROKEN, GOOD, write_machines

LAYOUT = ("--id", "machine", "--label", "state")


@pytest.fixture(scope="module")
def hall(shell: Any) -> Any:
    """A shell with the machines of tests/features in the space `hall`, learnt from and published."""
    write_machines(shell.folder)
    found = shell.json("import", "features", "machines.csv", *LAYOUT, "--space", "hall")
    assert (found["written"], found["rejected"]) == (300, {})
    made = shell.json("reindex", "--space", "hall", "--set", "dim=3", "--embedder", "pca", "--normal", "fine")
    assert (made["published"], made["dim"], made["evaluation"]["learnt_from"]) == (True, 3, 294)
    return shell


def run(hall: Any, *arguments: str) -> dict[str, Any]:
    return hall.json(*arguments, "--space", "hall")


def test_a_space_of_records_is_learnt_from_without_options(hall: Any) -> None:
    shown = hall.text("train", "--space", "hall")
    assert "pca: 300 records are few; a network needs about 5,000 to beat it" in shown
    assert "explained variance" in shown


def test_records_encode_from_a_file_by_id_or_as_json(hall: Any) -> None:
    one = run(hall, "encode", "--item", "m-007")
    assert np.array(one["vectors"]).shape == (1, 3)
    done = run(hall, "encode", "machines.csv", "--id", "machine", "--ignore", "state", "--out", "vectors.parquet")
    assert (done["rows"], done["out"]) == (300, "vectors.parquet")
    table = pl.read_parquet(hall.folder / "vectors.parquet")
    assert table.row(7)[0] == "m-007"
    assert table["vector"].to_list()[7] == pytest.approx(one["vectors"][0], abs=1e-5)
    again = run(hall, "decode", "vectors.parquet")
    direct = run(hall, "reconstruct", "--item", "m-007")
    assert again["records"][7]["heat"] == pytest.approx(direct["records"][0]["heat"], abs=1e-3)
    hall.text("encode", "machines.csv", "--id", "machine", "--ignore", "state", "--out", "v.csv", "--space", "hall")
    assert pl.read_csv(hall.folder / "v.csv").columns == ["item_id", "vector.0", "vector.1", "vector.2"]


def test_the_worst_records_are_shown_first_with_the_column_that_causes_the_score(hall: Any) -> None:
    shown = hall.text("anomalies", "machines.csv", *LAYOUT, "--space", "hall")
    lines = [line for line in shown.splitlines() if line.startswith("m-")]
    assert {line.split()[0] for line in lines[:6]} == {f"m-{row}" for row in range(294, 300)}
    assert "pressure" in lines[0]
    found = run(hall, "anomalies", "--record", json.dumps(BROKEN), "--false-alarm-rate", "0.02")
    assert found["anomalies"][0]["anomaly"] is True


def test_interpolation_names_real_items_and_search_takes_a_record(hall: Any) -> None:
    steps = run(hall, "interpolate", "m-003", json.dumps(GOOD), "--steps", "3")["steps"]
    assert steps[0]["nearest"][0]["item_id"] == "m-003"
    assert "m-003" in hall.text("interpolate", "m-003", "m-004", "--space", "hall")
    hits = run(hall, "search", "--record", json.dumps(GOOD), "--k", "3")["items"]
    assert len(hits) == 3


def test_imported_vectors_are_served_at_once_and_do_not_replace_a_trained_model(hall: Any) -> None:
    (hall.folder / "words.vec").write_text("3 2\ncup 1 0.5\nmug 1 0.4\nhat -1 2\n")
    found = hall.json("import", "vectors", "words.vec", "--space", "words")
    assert (found["written"], found["model"], found["dim"]) == (3, 1, 2)
    assert hall.json("search", "--item", "cup", "--k", "1", "--space", "words")["items"][0]["item_id"] == "mug"
    message = hall.fails("import", "vectors", "words.vec", "--space", "hall", code=1)
    assert message.startswith("space 'hall' serves a pca model that these vectors would replace; give them a space")
    assert "no encoder and decoder" in hall.fails("encode", "--record", "{}", "--space", "words", code=1)


def test_kpis_report_how_many_faults_are_found(hall: Any) -> None:
    shown = hall.text("kpis", "--space", "hall")
    assert "reviews saved against random inspection, and 100% fewer are missed" in shown
    found = run(hall, "kpis", "--false-alarm-rate", "0.1")["kpis"]["detection"]
    assert (found["found"], found["false_alarm_rate"]) == (6, 0.1)
    assert found["flagged"] > 20


def test_drift_is_measured_stored_and_shown(hall: Any) -> None:
    frame = pl.read_csv(hall.folder / "machines.csv").head(200)
    frame.write_csv(hall.folder / "recent.csv")
    frame.with_columns(pl.col("speed") + 300).write_csv(hall.folder / "moved.csv")
    same = run(hall, "drift", "recent.csv", *LAYOUT)
    assert (same["alert"], same["records"]) == (False, 200)
    assert "ALERT" in hall.text("drift", "moved.csv", *LAYOUT, "--space", "hall")
    kept = run(hall, "kpis")["drift"]
    assert kept["alert"] is True
    assert run(hall, "drift", "--since", "2026-01-01")["alert"] is False


def test_a_value_not_seen_in_training_does_not_stop_a_detector(hall: Any) -> None:
    frame = pl.read_csv(hall.folder / "machines.csv").head(200).with_columns(pl.col("heat").cast(str))
    odd = [frame["mode"][:-2].append(pl.Series(["X", "L"])), frame["heat"][:-1].append(pl.Series(["hot"]))]
    frame.with_columns(*odd).write_csv(hall.folder / "odd.csv")
    found = run(hall, "anomalies", "odd.csv", *LAYOUT)["anomalies"]
    assert [each["anomaly"] for each in found[-2:]] == [True, True]
    assert [(each["columns"][0]["column"], each["columns"][0]["value"]) for each in found[-2:]] == [
        ("mode", "X"),
        ("heat", "hot"),
    ]
    report = run(hall, "drift", "odd.csv", *LAYOUT)
    assert (report["alert"], report["unseen"]) == (False, {"heat": {"hot": 1}, "mode": {"X": 1}})
    assert "unseen in training, column mode: 'X' 1 times" in hall.text("drift", "odd.csv", *LAYOUT, "--space", "hall")
    header, *rows = (hall.folder / "machines.csv").read_text().splitlines()
    (hall.folder / "noise.csv").write_text("\n".join([header, *(f"{row.split(',')[0]},?,?,?,?,fine" for row in rows)]))
    noise = run(hall, "drift", "noise.csv", *LAYOUT)
    assert (noise["alert"], noise["records_with_nothing_read"]) == (True, 300)
    assert run(hall, "kpis")["drift"]["alert"] is True
    assert run(hall, "drift", "machines.csv", *LAYOUT)["alert"] is False


def test_compress_shows_the_cost_of_each_kind(hall: Any) -> None:
    kinds = run(hall, "compress")["kinds"]
    assert [row["kind"] for row in kinds] == ["float32", "float16", "int8", "pq"]
    assert kinds[2]["reconstruction_error"] == pytest.approx(kinds[0]["reconstruction_error"], rel=0.01)


def test_training_that_diverges_saves_nothing(hall: Any) -> None:
    before = len(run(hall, "models")["models"])
    wild = ("train", "--embedder", "autoencoder", "--set", "learning_rate=1e30", "--set", "hidden=8")
    message = hall.fails(*wild, "--set", "epochs=3", "--space", "hall", code=1)
    assert "autoencoder diverged" in message
    assert "held-out loss by epoch" in message
    assert len(run(hall, "models")["models"]) == before


def test_a_model_is_exported_and_a_wrong_folder_is_an_error(hall: Any) -> None:
    found = run(hall, "export", "--onnx", "edge")
    assert set(found["files"]) == {"edge/encoder.onnx", "edge/decoder.onnx"}
    assert all((hall.folder / name).stat().st_size == size for name, size in found["files"].items())
    assert hall.fails("export", "--space", "hall", code=2) == "give --onnx FOLDER to write into"
    (hall.folder / "taken").write_text("x")
    message = hall.fails("export", "--onnx", "taken", "--space", "hall", code=2)
    assert message == "taken is a file; expected a folder to write into"


def test_a_map_is_written_as_picture_page_and_json(hall: Any) -> None:
    files = ("--out", "m.png", "--out", "m.html", "--out", "m.json")
    found = run(hall, "map", *files, "--colour", "score", "--n", "100")
    assert (found["points"], found["method"]) == (100, "pca")
    assert (hall.folder / "m.png").read_bytes().startswith(b"\x89PNG")
    points = json.loads((hall.folder / "m.json").read_text())
    assert set(points["labels"]) == {"fine", "fault"}
    worst = points["ids"][int(np.argmax(points["scores"]))]
    assert worst in {f"m-{row}" for row in range(294, 300)}
    assert "anomaly score" in (hall.folder / "m.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("encode",), "give a FILE of records, or --item, or --record"),
        (("encode", "machines.csv"), "expected the 4 known columns; unexpected machine, state"),
        (("encode", "--record", "{"), "--record is not JSON: "),
        (("encode", "--record", "[1]"), "--record is a JSON object of columns and values, got '[1]'"),
        (("encode", "--record", '{"heat": 1}'), "missing pressure, speed, mode"),
        (("encode", "none.csv"), "none.csv does not exist"),
        (("decode", "--vector", "[1]"), "expected rows of 3 dimensions, got shape (1, 1)"),
        (("anomalies", "--item", "m-001", "--false-alarm-rate", "2"), "expected a false-alarm rate of 0 to below 1"),
        (("anomalies", "--item", "m-001", "--quantile", "nan"), "expected a false-alarm rate of 0 to below 1"),
        (("map", "--out", "m.gif"), "expected a .png, .html or .json file to write, got 'm.gif'"),
        (("map", "--method", "som"), "expected a method of pca, tsne, umap, got 'som'"),
        (("map", "--colour", "attributes.price"), "no item has an attribute 'price'"),
        (("kpis", "--normal", "odd"), "the labels of the records do not say which are bad"),
        (("drift", "machines.csv"), "unexpected machine, state"),
        (("sample",), "pca does not learn a distribution, so it cannot sample; vae, vqvae and aae can"),
        (("train", "--set", "dim=40", "--embedder", "pca"), "at most 6 dimensions, one per prepared column, got 40"),
        (
            ("train", "--embedder", "pca", "--normal", "odd"),
            "no record has the label 'odd'; the labels are fine, fault",
        ),
        (("train", "--embedder", "spectral", "--normal", "fine"), "--normal and --keep-constant go with embedders of"),
        (("import", "features", "machines.csv"), "missing heat"),
    ],
)
def test_wrong_input_for_records_is_an_error(hall: Any, arguments: tuple[str, ...], message: str) -> None:
    if arguments[0] == "import":
        (hall.folder / "other.csv").write_text("a,b\n1,2\n")
        arguments = ("import", "features", "other.csv")
    assert message in hall.fails(*arguments, "--space", "hall", code=2)


def test_missing_records_and_models_are_errors_of_one_sentence(hall: Any) -> None:
    for arguments, message in (
        (("encode", "--item", "nobody"), "there is no feature record 'nobody'"),
        (("interpolate", "nobody", "m-001"), "there is no item 'nobody'"),
        (("drift",), "no record was written since"),
        (("kpis", "--model", "99"), "there is no model version 99"),
        (("train", "--embedder", "spectral"), "no user has an item with positive weight"),
    ):
        assert message in hall.fails(*arguments, "--space", "hall", code=1)
    lacking = hall.fails("train", "--embedder", "pca", code=1)
    assert lacking.startswith("this space has no feature records; import some with `nearfield import features FILE`")


def test_a_constant_column_is_dropped_with_a_note_or_kept(hall: Any) -> None:
    rows = "".join(f"{n},{n % 7},5\n" for n in range(30))
    Path(hall.folder / "still.csv").write_text("id,a,b\n" + rows)
    hall.text("import", "features", "still.csv", "--id", "id", "--space", "still")
    assert "column 'b' has one value in every record: not learnt from, and" in hall.text("train", "--space", "still")
    vector = hall.json("encode", "--record", '{"a": 3, "b": 5}', "--space", "still")["vectors"][0]
    record = hall.json("decode", "--vector", json.dumps(vector), "--space", "still")["records"][0]
    assert record == {"a": pytest.approx(3, abs=1e-4), "b": 5}
    hall.text("train", "--keep-constant", "--space", "still")
    (hall.folder / "one.csv").write_text("id,a\n1,2\n")
    hall.text("import", "features", "one.csv", "--id", "id", "--space", "one")
    assert hall.fails("train", "--space", "one", code=2) == "expected at least 2 records to learn from, got 1"
