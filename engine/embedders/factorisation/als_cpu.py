"""A half step of alternating least squares on the CPU: conjugate gradients row by row, compiled by numba.

Each row reads only its own cells, without padding, and its working memory fits into the L1 cache. Threads process
blocks of rows with about equally many cells, the longest rows first, so that no thread waits for one long row at the
end. The rows are independent, so the result does not depend on the number of threads.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import scipy.sparse as sp
import torch

from engine.jit import compiled

BLOCK_CELLS = 2**14  # a fraction of a second of work at 1024 dimensions; dispatching a block takes microseconds
MIN_DIVISOR = 1e-20


class CpuHalfStepSolver:
    """Solves for the rows of one (n_rows, n_columns) matrix, whose cells are prepared once for all half steps."""

    def __init__(self, cells: sp.csr_matrix, threads: int):
        lengths = np.diff(cells.indptr)
        order = np.argsort(-lengths, kind="stable")
        self._order = order[: np.count_nonzero(lengths)]  # rows without cells keep zeros
        ends = np.cumsum(lengths[self._order])
        n_blocks = int(ends[-1]) // BLOCK_CELLS + 1 if len(ends) else 0
        cuts = np.searchsorted(ends, np.arange(1, n_blocks) * BLOCK_CELLS) + 1
        self._blocks = [block for block in np.split(self._order, cuts) if len(block)]
        self._cells = (
            np.require(cells.indptr, np.int64, ["C", "W"]),
            np.require(cells.indices, np.int64, ["C", "W"]),
            np.require(cells.data, np.float32, ["C", "W"]),
        )
        self._threads = threads

    def half_step(
        self, start: torch.Tensor, fixed: torch.Tensor, *, values: torch.Tensor, reg: torch.Tensor, steps: int
    ) -> torch.Tensor:
        """`steps` conjugate gradients per row from `start` (n_rows, dim) to x of (diag(values + reg) + V'WV) x = V'w.

        V are the vectors in `fixed` (n_columns, dim) of the row's cells, W = diag(w) their weights; `values` is (dim,),
        `reg` (n_rows,), all float32. Returns (n_rows, dim); a row without cells is 0.
        """
        solved = torch.zeros_like(start)
        arrays = [each.contiguous().numpy() for each in (start, fixed, values, reg, solved)]
        with ThreadPoolExecutor(self._threads) as pool:
            for _ in pool.map(lambda rows: _solve_rows(rows, *self._cells, *arrays, steps), self._blocks):
                pass  # iterating raises the errors of the threads
        return solved


@compiled
def _add_weighted_residual(x, target, start, end, columns, weights, fixed, out):  # type: ignore[no-untyped-def]
    """out += V'W(target - Vx) over the cells `start` to `end`, four at a time, so that `out` is read once for four."""
    dim, zero, cell = len(x), np.float32(0), start
    while cell + 4 <= end:
        i, j, m, n = columns[cell], columns[cell + 1], columns[cell + 2], columns[cell + 3]
        a, b, c, d = zero, zero, zero, zero
        for k in range(dim):
            a += fixed[i, k] * x[k]
            b += fixed[j, k] * x[k]
            c += fixed[m, k] * x[k]
            d += fixed[n, k] * x[k]
        a, b = weights[cell] * (target - a), weights[cell + 1] * (target - b)
        c, d = weights[cell + 2] * (target - c), weights[cell + 3] * (target - d)
        for k in range(dim):
            out[k] += a * fixed[i, k] + b * fixed[j, k] + c * fixed[m, k] + d * fixed[n, k]
        cell += 4
    for last in range(cell, end):
        i, a = columns[last], zero
        for k in range(dim):
            a += fixed[i, k] * x[k]
        a = weights[last] * (target - a)
        for k in range(dim):
            out[k] += a * fixed[i, k]


@compiled
def _solve_rows(rows, indptr, columns, weights, starts, fixed, values, reg, out, steps):  # type: ignore[no-untyped-def]
    """`steps` conjugate gradients for each of `rows`, from its row of `starts`, preconditioned with the diagonal."""
    dim, zero, one, smallest = fixed.shape[1], np.float32(0), np.float32(1), np.float32(MIN_DIVISOR)
    diagonal, residual = np.empty(dim, np.float32), np.empty(dim, np.float32)
    direction, descent = np.empty(dim, np.float32), np.empty(dim, np.float32)
    for row in rows:
        x, start, end = out[row], indptr[row], indptr[row + 1]
        for k in range(dim):
            x[k], diagonal[k] = starts[row, k], values[k] + reg[row]
            residual[k] = -diagonal[k] * x[k]
        _add_weighted_residual(x, one, start, end, columns, weights, fixed, residual)
        size = zero
        for k in range(dim):
            direction[k] = residual[k] / diagonal[k]
            size += residual[k] * direction[k]
        for _ in range(steps):
            for k in range(dim):
                descent[k] = -diagonal[k] * direction[k]  # change of the residual along the direction
            _add_weighted_residual(direction, zero, start, end, columns, weights, fixed, descent)
            curvature = zero
            for k in range(dim):
                curvature -= direction[k] * descent[k]
            length, previous_size, size = size / max(curvature, smallest), size, zero
            for k in range(dim):
                x[k] += length * direction[k]
                residual[k] += length * descent[k]
                size += residual[k] * residual[k] / diagonal[k]
            beta = size / max(previous_size, smallest)
            for k in range(dim):
                direction[k] = residual[k] / diagonal[k] + beta * direction[k]
