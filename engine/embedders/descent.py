"""Gradient descent over users in mini-batches, for the models that learn from interactions.

Every draw comes from the seed, so a fit on one device repeats exactly. A loss that is not finite, or rises, ends it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch

from engine.errors import TrainingFailed

Report = Callable[[int, float, float], None]  # epoch from 1, mean loss, seconds
SHOWN = 10  # losses told of either end of a long training
RISE = 1.0  # the last loss above the first by this share of it is a divergence; tiny data is noisy, a KL term warms up
Rows = npt.NDArray[np.int64]


def silent(epoch: int, loss: float, seconds: float) -> None:
    """No report."""


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of a batch of histories, flat: cell c is item `columns[c]` of user `rows[c]` of the batch."""

    rows: torch.Tensor  # (n_cells,) int64, ascending
    columns: torch.Tensor  # (n_cells,) int64
    weights: torch.Tensor  # (n_cells,) float32
    n_users: int

    def where(self, kept: torch.Tensor) -> Cells:
        return Cells(self.rows[kept], self.columns[kept], self.weights[kept], self.n_users)

    def dense(self, n_items: int) -> torch.Tensor:
        """(n_users, n_items) float32."""
        out = torch.zeros(self.n_users, n_items, device=self.weights.device)
        return out.index_put_((self.rows, self.columns), self.weights)

    def sum_of(self, table: torch.Tensor) -> torch.Tensor:
        """history @ table, (n_users, dim)."""
        offsets = torch.searchsorted(self.rows, torch.arange(self.n_users, device=self.rows.device))
        return torch.nn.functional.embedding_bag(
            self.columns, table, offsets, mode="sum", per_sample_weights=self.weights
        )


def cells_of(matrix: sp.csr_matrix, users: Rows, device: torch.device) -> Cells:
    lengths = np.diff(matrix.indptr)[users]
    ends = np.cumsum(lengths)
    rows = np.repeat(np.arange(len(users)), lengths)
    where = (
        np.arange(int(lengths.sum())) - np.repeat(ends - lengths, lengths) + np.repeat(matrix.indptr[users], lengths)
    )
    return Cells(
        torch.from_numpy(rows).to(device),
        torch.from_numpy(matrix.indices[where].astype(np.int64)).to(device),
        torch.from_numpy(matrix.data[where].astype(np.float32)).to(device),
        len(users),
    )


def descend(
    name: str,
    loss_of: Callable[[Cells, torch.Generator], torch.Tensor],
    groups: list[dict[str, object]],
    matrix: sp.csr_matrix,
    *,
    epochs: int,
    batch: int,
    seed: int,
    device: torch.device,
    report: Report = silent,
) -> None:
    """Adam on `groups` over all users with a history, `epochs` times, the step size falling linearly to a tenth.

    Raises TrainingFailed with the loss of every epoch when a loss or a table is not finite, or the last loss is
    twice the first.
    """
    optimiser = torch.optim.Adam(groups, betas=(0.9, 0.99))
    steps = [float(group["lr"]) for group in optimiser.param_groups]
    generator = torch.Generator(device).manual_seed(seed)
    history: list[float] = []
    for epoch in range(1, epochs + 1):
        started, total, n_batches = time.perf_counter(), torch.zeros((), device=device), 0
        for group, step in zip(optimiser.param_groups, steps, strict=True):
            group["lr"] = step * (1 - 0.9 * (epoch - 1) / epochs)
        for users in _batches(matrix, batch, seed, epoch):
            loss = loss_of(cells_of(matrix, users, device), generator)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            total, n_batches = total + loss.detach(), n_batches + 1
        history.append(float(total) / max(1, n_batches))  # read once an epoch: a GPU is not made to wait
        if not np.isfinite(history[-1]) or not _bounded(optimiser):
            raise _diverged(name, history)
        report(epoch, history[-1], time.perf_counter() - started)
    if history[-1] - history[0] > RISE * max(abs(history[0]), 1.0):
        raise _diverged(name, history)


def _bounded(optimiser: torch.optim.Optimizer) -> bool:
    """Whether parameters have a length: a loss of unit vectors stays finite when they overflow."""
    squares = [table.detach().square().sum() for group in optimiser.param_groups for table in group["params"]]
    return bool(torch.isfinite(torch.stack(squares)).all())


def _diverged(name: str, history: list[float]) -> TrainingFailed:
    told = [f"{value:.4g}" for value in history]
    losses = ", ".join(told if len(told) <= 2 * SHOWN else [*told[:SHOWN], "...", *told[-SHOWN:]])
    return TrainingFailed(f"{name} diverged, loss by epoch {losses}; lower learning_rate")


def _batches(matrix: sp.csr_matrix, batch: int, seed: int, epoch: int) -> Iterator[Rows]:
    users = np.flatnonzero(np.diff(matrix.indptr))
    order = np.random.default_rng((seed, epoch)).permutation(users)
    for start in range(0, len(order), batch):
        yield order[start : start + batch]
