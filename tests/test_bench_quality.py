"""bench_quality selects on validation cells, trains again on all training cells and scores the test file."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.engine.learning.test_auto_select_and_tune import split

SCRIPT = Path(__file__).parents[1] / "scripts" / "bench_quality.py"


@pytest.fixture
def folder(tmp_path):
    made = split()
    for name, matrix in (("train", made.train.matrix), ("test", made.test)):
        rows, columns = matrix.nonzero()
        pl.DataFrame({"user": rows.astype(np.int64), "item": columns.astype(np.int64)}).write_parquet(
            tmp_path / f"{name}.parquet"
        )
    return tmp_path


def run(folder, *args):
    command = [sys.executable, str(SCRIPT), "--data", str(folder), "--json", *args]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_tuned_model_is_reported_with_its_trials(folder):
    done = run(folder, "--embedder", "spectral", "--tune", "0.05")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert (figures["embedder"], figures["on"]) == ("spectral", "test")
    assert figures["trials"] > 0
    assert "on validation" in figures["reason"]
    assert 0 < figures["strong_recall@20"] <= 1
    assert figures["recall@20"] > 0.5


KEYS = {
    *("embedder", "dim", "metric", "params", "recall@20", "ndcg@20", "strong_recall@20"),
    *("fit_seconds", "epoch_seconds", "peak_mb", "device"),
}


def test_a_line_of_json_holds_all_figures_of_an_embedder_that_learns_in_epochs(folder):
    done = run(folder, "--embedder", "mf", "--set", "dim=8", "--set", "epochs=3", "--seed", "5")
    assert done.returncode == 0, done.stderr
    [line] = done.stdout.splitlines()
    figures = json.loads(line)
    assert figures.keys() >= KEYS
    assert (figures["embedder"], figures["dim"], figures["metric"], figures["device"]) == ("mf", 8, "cosine", "cpu")
    assert figures["params"].items() >= {"dim": 8, "epochs": 3, "seed": 5}.items()
    for name in ("recall@20", "ndcg@20", "strong_recall@20"):
        assert 0 < figures[name] <= 1
    assert figures["fit_seconds"] >= 0
    assert figures["epoch_seconds"] >= 0  # not None: it has epochs
    assert figures["peak_mb"] > 50


def test_the_test_file_is_not_opened_with_valid(folder):
    weak = ("--embedder", "spectral", "--set", "dim=8", "--weak")
    scored = run(folder, *weak)
    assert scored.returncode == 0, scored.stderr
    on_test = json.loads(scored.stdout)
    (folder / "test.parquet").write_bytes(b"no parquet")
    with ThreadPoolExecutor() as pool:
        broken = pool.submit(run, folder, *weak)
        done = run(folder, *weak, "--valid")
    assert done.returncode == 0, done.stderr
    on_valid = json.loads(done.stdout)
    assert broken.result().returncode != 0, "the broken file is opened without --valid"
    assert (on_test["on"], on_valid["on"]) == ("test", "valid")
    for figures in (on_test, on_valid):
        assert figures.keys() >= KEYS
        assert (figures["strong_recall@20"], figures["epoch_seconds"]) == (None, None)  # left out; no epochs
    assert 0 < on_valid["recall@20"] != on_test["recall@20"]


def test_a_budget_with_an_embedder_is_refused(folder):
    done = run(folder, "--embedder", "ease", "--budget", "1")
    assert done.returncode != 0
    assert "expected --embedder auto, got ease" in done.stderr
    assert done.stdout == ""
