"""The half steps of ials: the compiled loops of the CPU and the batches of a GPU are the same conjugate gradients."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from engine.embedders.factorisation import als_cpu
from engine.embedders.factorisation.als_cpu import CpuHalfStepSolver
from engine.embedders.factorisation.als_gpu import GpuHalfStepSolver

ROOT = Path(__file__).parent.parent.parent.parent.parent
DIM = 12
CPU = torch.device("cpu")
SIDES = {
    "loops": lambda cells: CpuHalfStepSolver(cells, threads=2),
    "batches": lambda cells: GpuHalfStepSolver(cells, DIM, CPU),
}


def world():
    """Rows of 0 to 21 cells with weights that are no whole numbers, fixed vectors and where the rows start."""
    draw = np.random.default_rng(2)
    dense = (draw.random((22, 30)) < np.linspace(0, 0.7, 22)[:, None]) * draw.uniform(0.5, 3, (22, 30))
    fixed, start = draw.standard_normal((30, DIM)), draw.standard_normal((22, DIM))
    values, reg = draw.uniform(0, 2, DIM), draw.uniform(0.1, 1, 22)
    tensors = (torch.from_numpy(array.astype(np.float32)) for array in (start, fixed, values, reg))
    return sp.csr_matrix(dense.astype(np.float32)), *tensors


def exact(cells, fixed, values, reg):
    out = np.zeros((cells.shape[0], DIM))
    for row, weights in enumerate(cells.toarray().astype(np.float64)):
        left = np.diag((values + reg[row]).double().numpy()) + (fixed.double().numpy().T * weights) @ fixed.numpy()
        out[row] = np.linalg.solve(left, fixed.numpy().T @ weights)
    return out


@pytest.mark.parametrize("side", SIDES)
def test_as_many_steps_as_dimensions_end_at_the_exact_solution(side):
    cells, start, fixed, values, reg = world()
    found = SIDES[side](cells).half_step(start, fixed, values=values, reg=reg, steps=DIM + 4)
    assert found.numpy() == pytest.approx(exact(cells, fixed, values, reg), abs=1e-4)


def test_loops_and_batches_are_at_the_same_place_after_every_step():
    cells, start, fixed, values, reg = world()
    for steps in range(5):
        loops, batches = (
            SIDES[side](cells).half_step(start, fixed, values=values, reg=reg, steps=steps) for side in SIDES
        )
        assert loops.numpy() == pytest.approx(batches.numpy(), abs=1e-4)


def test_neither_threads_nor_blocks_change_a_bit_of_the_result(monkeypatch):
    cells, start, fixed, values, reg = world()
    once = CpuHalfStepSolver(cells, threads=1).half_step(start, fixed, values=values, reg=reg, steps=3)
    monkeypatch.setattr(als_cpu, "BLOCK_CELLS", 7)
    again = CpuHalfStepSolver(cells, threads=3).half_step(start, fixed, values=values, reg=reg, steps=3)
    assert torch.equal(once, again)


def test_a_side_without_any_cell_is_zero_and_read_only_cells_are_read():
    _, start, fixed, values, reg = world()
    nothing = sp.csr_matrix((22, 30), dtype=np.float32)
    assert not CpuHalfStepSolver(nothing, threads=2).half_step(start, fixed, values=values, reg=reg, steps=3).any()
    cells = world()[0]
    cells.data.flags.writeable = cells.indices.flags.writeable = cells.indptr.flags.writeable = False
    assert CpuHalfStepSolver(cells, threads=2).half_step(start, fixed, values=values, reg=reg, steps=3).any()


def test_numba_is_imported_by_a_fit_of_ials_on_the_cpu_and_by_nothing_before():
    code = """
import sys
from engine.embedders.registry import EMBEDDERS, make
made = [make(name) for name in EMBEDDERS]
print("numba" in sys.modules)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("False", 0), done.stderr
