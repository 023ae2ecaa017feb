"""bench_step times training steps beside ceilings measured in the same run, and counts the operations of a step."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[1] / "scripts" / "bench_step.py"
TINY = ("--users", "64", "--items", "40", "--cells", "5", "--dim", "8", "--batch", "32", "--passes", "3", "--json")
KEYS = ("embedder", "device", "dim", "batch", "negatives", "step_ms", "flop", "bytes")
CEILINGS = ("arithmetic_ceiling_ms", "bandwidth_ceiling_ms")


def run(*args):
    return subprocess.run([sys.executable, str(SCRIPT), *TINY, *args], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("embedder", "negatives", "flop_of_products", "n_bytes"),
    [
        # 32 users, 8 wide, 24 negatives; products, then tables of 64 users and 40 items
        ("mf", 24, 6 * 6144, 12 * (768 + 256 + 192) + 32 * 832),
        # all 40 items; products, then the table of items
        ("elsa", None, 6 * 10240, 12 * (1280 + 256 + 320) + 32 * 320),
    ],
)
def test_a_step_is_counted_and_held_against_the_ceilings(embedder, negatives, flop_of_products, n_bytes):
    done = run("--embedder", embedder, "--negatives", "24")
    assert done.returncode == 0, done.stderr
    [line] = done.stdout.splitlines()
    figures = json.loads(line)
    assert {*KEYS, *CEILINGS, "ratio_to_ceiling"} <= figures.keys()
    assert [figures[key] for key in KEYS[:5]] == [embedder, "cpu", 8, 32, negatives]
    assert 64 <= figures["cells"] <= 320
    assert figures["flop"] == flop_of_products + 4 * 8 * figures["cells"] / 2  # two steps
    assert figures["bytes"] == n_bytes
    assert figures["step_ms"] > 0
    assert all(figures[key] > 0 for key in CEILINGS)
    expected = figures["step_ms"] / max(figures[key] for key in CEILINGS)
    assert figures["ratio_to_ceiling"] == pytest.approx(expected, rel=0.01)


def test_one_pass_is_refused_as_it_only_warms_up():
    done = run("--passes", "1")
    assert done.returncode == 2
    assert "expected at least 2 passes" in done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU on this machine")
def test_a_gpu_that_is_not_there_is_an_error():
    done = run("--device", "cuda")
    assert done.returncode == 1
    assert "bench_step: cuda was requested, but torch sees no GPU here" in done.stderr
