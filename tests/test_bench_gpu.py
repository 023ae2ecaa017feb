"""bench_gpu compares an index with the limits of the device; the whole script also runs on a CPU."""

import json
import subprocess
import sys
from pathlib import Path

import faiss
import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "bench_gpu.py"
KEYS = ["index", "n", "dim", "batch", "qps", "ms", "recall"]
KEYS += ["bandwidth_ceiling_ms", "arithmetic_ceiling_ms", "ratio_to_ceiling", "cpu_ms"]


def run(*args):
    command = [sys.executable, str(SCRIPT), "--json", *args]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_index_size_and_batch_has_a_row_with_its_ceilings():
    done = run("--n", "2000,4000", "--dim", "16", "--batches", "1,48", "--seconds", "0.05", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["index"], row["n"], row["batch"]) for row in rows] == [
        (index, n, batch)
        for n, indexes in ((2000, ("Flat", "IVF51,Flat")), (4000, ("Flat", "IVF102,Flat")))
        for index in indexes
        for batch in (1, 48)
    ]
    for row in rows:
        assert list(row) == KEYS
        assert min(value for key, value in row.items() if key != "index") > 0
        assert row["recall"] >= (1.0 if row["index"] == "Flat" else 0.9)
        assert row["ms"] == row["cpu_ms"]
        assert row["qps"] == pytest.approx(row["batch"] / row["ms"] * 1e3, rel=0.01)
        ceiling = max(row["bandwidth_ceiling_ms"], row["arithmetic_ceiling_ms"])
        assert row["ratio_to_ceiling"] == pytest.approx(row["ms"] / ceiling, rel=0.01)
    small, large = (next(row for row in rows if (row["index"], row["n"]) == ("Flat", n)) for n in (2000, 4000))
    assert large["bandwidth_ceiling_ms"] == pytest.approx(2 * small["bandwidth_ceiling_ms"], rel=0.01)
    one, many = (row for row in rows if (row["index"], row["n"]) == ("Flat", 2000))
    assert many["bandwidth_ceiling_ms"] == one["bandwidth_ceiling_ms"]  # what is read once serves all
    assert many["arithmetic_ceiling_ms"] == pytest.approx(48 * one["arithmetic_ceiling_ms"], rel=0.01)


@pytest.mark.skipif(getattr(faiss, "get_num_gpus", int)() > 0, reason="FAISS sees a GPU on this machine")
def test_a_gpu_that_is_not_there_is_an_error():
    done = run("--n", "2000", "--device", "cuda")
    assert done.returncode != 0
    assert done.stderr == "bench_gpu: cuda was requested, but FAISS sees no GPU here; use --device cpu\n"
    assert done.stdout == ""
