"""bench_quality chooses on validation cells, learns again on train and scores the test file."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.engine.test_selection import split

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


def test_what_is_tuned_is_told_with_its_trials(folder):
    done = run(folder, "--embedder", "spectral", "--tune", "0.05")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert (figures["embedder"], figures["on"]) == ("spectral", "test")
    assert figures["trials"] > 0
    assert "on validation" in figures["reason"]
    assert 0 < figures["strong_recall@20"] <= 1
    assert figures["recall@20"] > 0.5


def test_a_budget_with_an_embedder_is_refused(folder):
    done = run(folder, "--embedder", "ease", "--budget", "1")
    assert done.returncode != 0
    assert "expected --embedder auto, got ease" in done.stderr
    assert done.stdout == ""
