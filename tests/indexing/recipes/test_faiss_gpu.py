"""On a GPU: every kind of index answers as its CPU twin does. Skipped where FAISS sees no GPU."""

import os
import subprocess
import sys
from pathlib import Path

import faiss
import numpy as np
import pytest

from engine.errors import DeviceUnavailable, InputError
from indexing.recipes.faiss_gpu import check_fits, copy_to_gpu, gpu_number, needed_bytes
from indexing.recipes.recipe import Recipe, build, build_index
from indexing.searchers.exact import ExactSearcher
from indexing.searchers.metric import normalise_rows
from indexing.searchers.recall import recall

N, DIM, K = 40_000, 32, 20
GPUS = getattr(faiss, "get_num_gpus", int)()
needs_gpu = [pytest.mark.gpu, pytest.mark.skipif(not GPUS, reason="FAISS sees no GPU on this machine")]


@pytest.fixture(scope="module")
def vectors():
    draw = np.random.default_rng(0)
    centres = draw.standard_normal((200, DIM))
    return normalise_rows((centres[draw.integers(0, 200, N)] + 0.4 * draw.standard_normal((N, DIM))).astype(np.float32))


needs_cuvs = pytest.mark.skipif(not hasattr(faiss, "GpuIndexCagra"), reason="FAISS was built without cuVS")
KINDS = [pytest.param(factory, marks=needs_gpu) for factory in ("Flat", "IVF128,Flat", "IVF128,SQ8", "IVF128,int8")]
KINDS.append(pytest.param("CAGRA", marks=[*needs_gpu, needs_cuvs]))


@pytest.mark.parametrize("factory", KINDS)
@pytest.mark.parametrize("share", [None, 0.6, 0.01, 0.0001])
def test_a_gpu_index_finds_what_exact_search_finds_filtered_or_not(vectors, factory, share):
    made = build(Recipe(factory), vectors, vectors[:200], device="cuda")
    searcher = copy_to_gpu(0, made.searcher)
    allowed = None if share is None else np.random.default_rng(2).random(N) < share
    scores, rows = searcher.search(vectors[:64], K, allowed)
    wanted = K if allowed is None else min(K, int(allowed.sum()))
    assert (rows[:, :wanted] >= 0).all()
    if allowed is None:
        assert recall(searcher, ExactSearcher(vectors), vectors[:64]) >= 0.95
    else:
        assert allowed[rows[rows >= 0]].all()
        expected, _ = ExactSearcher(vectors).search(vectors[:64], K, allowed)
        found = np.isfinite(expected)
        assert np.mean(scores[found] >= expected[found] - 1e-3) >= 0.95


@pytest.mark.gpu
@pytest.mark.skipif(not GPUS, reason="FAISS sees no GPU on this machine")
def test_an_index_built_on_a_gpu_is_read_on_a_cpu(vectors):
    index = build_index("IVF64,Flat", vectors, device="cuda")
    assert index.ntotal == N
    assert not type(index).__name__.startswith("Gpu")


def test_a_device_is_cpu_or_cuda_with_a_number_and_one_that_is_not_there_is_an_error():
    assert gpu_number("cpu") is None
    with pytest.raises(InputError, match="expected a device of cpu, cuda or cuda:1, got 'tpu'"):
        gpu_number("tpu")
    with pytest.raises(DeviceUnavailable, match=f"cuda:{GPUS} was requested, but FAISS sees"):
        gpu_number(f"cuda:{GPUS}")


def test_an_index_that_does_not_fit_into_gpu_memory_is_refused():
    needed = needed_bytes(None, 1_000_000, 64)
    assert 256e6 < needed < 700e6
    assert needed_bytes(faiss.index_factory(64, "IVF100,SQ8"), 1_000_000, 64) < needed
    check_fits(needed, needed, 0)
    with pytest.raises(DeviceUnavailable, match=r"the index needs \d+ MiB, GPU 0 has 100 MiB free; choose a smaller"):
        check_fits(needed, 100 * 2**20, 0)


@pytest.mark.parametrize(("expected", "code"), [("0", 0), ("1", 0 if GPUS else 1)])
def test_a_gpu_job_in_which_nothing_ran_on_a_gpu_fails(expected, code):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "read_on_a_cpu"]
    environment = os.environ | {"NEARFIELD_EXPECT_GPU": expected}
    done = subprocess.run(command, cwd=Path(__file__).parents[3], env=environment, capture_output=True, text=True)
    assert done.returncode == code, done.stdout
    assert ("no test ran on a GPU: failed" in done.stdout) is (code == 1)
    assert GPUS or "FAISS sees no GPU on this machine" in done.stdout
