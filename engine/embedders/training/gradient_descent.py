"""Gradient descent with Adam over mini-batches of users, for the models that learn from interactions.

All randomness comes from the seed, so a fit on one device repeats exactly. A loss that is not finite, or that rises
over the training, raises TrainingFailed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch

from engine.checkpoints import Checkpoints
from engine.embedders.training import data_parallel
from engine.embedders.training.descent_checkpoint import DescentCheckpoint, fingerprint, parameters_of
from engine.errors import TrainingFailed

EpochReport = Callable[[int, float, float], None]  # epoch from 1, mean loss, seconds
LOSSES_SHOWN = 10  # at either end of a long training, in an error message
# A last loss above the first by this share of it is a divergence; tiny data is noisy, and a KL term warms up.
MAX_LOSS_RISE = 1.0
MAX_TABLE_GROWTH = 1e4  # of a table's root mean square, over the initial value or 1: beyond it training has diverged
Rows = npt.NDArray[np.int64]


def no_report(epoch: int, loss: float, seconds: float) -> None:
    """A report that does nothing."""


@dataclass(frozen=True, eq=False)
class HistoryBatch:
    """Histories of a batch of users as flat cells: in cell c, user `rows[c]` of the batch has item `columns[c]`."""

    rows: torch.Tensor  # (n_cells,) int64, ascending
    columns: torch.Tensor  # (n_cells,) int64
    weights: torch.Tensor  # (n_cells,) float32
    users: torch.Tensor  # (n_users,) int64, the rows of the batch's users in the whole matrix

    @property
    def n_users(self) -> int:
        return len(self.users)

    def select(self, mask: torch.Tensor) -> HistoryBatch:
        """The batch with only the cells of `mask` (n_cells,)."""
        return HistoryBatch(self.rows[mask], self.columns[mask], self.weights[mask], self.users)

    def dense(self, n_items: int) -> torch.Tensor:
        """The histories as (n_users, n_items) float32."""
        histories = torch.zeros(self.n_users, n_items, device=self.weights.device)
        return histories.index_put_((self.rows, self.columns), self.weights)

    def weighted_sum(self, table: torch.Tensor) -> torch.Tensor:
        """histories @ table, (n_users, dim)."""
        offsets = torch.searchsorted(self.rows, torch.arange(self.n_users, device=self.rows.device))
        return torch.nn.functional.embedding_bag(
            self.columns, table, offsets, mode="sum", per_sample_weights=self.weights
        )


def history_batch(matrix: sp.csr_matrix, users: Rows, device: torch.device) -> HistoryBatch:
    lengths = np.diff(matrix.indptr)[users]
    ends = np.cumsum(lengths)
    rows = np.repeat(np.arange(len(users)), lengths)
    positions = (
        np.arange(int(lengths.sum())) - np.repeat(ends - lengths, lengths) + np.repeat(matrix.indptr[users], lengths)
    )
    return HistoryBatch(
        torch.from_numpy(rows).to(device),
        torch.from_numpy(matrix.indices[positions].astype(np.int64)).to(device),
        torch.from_numpy(matrix.data[positions].astype(np.float32)).to(device),
        torch.from_numpy(users.astype(np.int64)).to(device),
    )


def gradient_descent(
    embedder: object,
    loss_of: Callable[[HistoryBatch, torch.Generator, int], torch.Tensor],
    groups: list[dict[str, object]],
    matrix: sp.csr_matrix,
    *,
    epochs: int,
    batch: int,
    seed: int,
    device: torch.device,
    chunk_size: int | None = None,
    report: EpochReport = no_report,
    checkpoints: Checkpoints | None = None,
) -> None:
    """Train the parameters of `groups` with Adam for `epochs` over all users with a history.

    The learning rate falls linearly to a tenth. `loss_of(batch, generator, step)` is the mean loss over the users of a
    batch, with steps counted from 1; on a GPU it runs under bfloat16 autocast. Gradients are computed for `chunk_size`
    users at a time (default: the whole batch) and summed before each step of Adam. The descent resumes from a
    checkpoint of the same data, embedder and seed, with the same result as without interruption. In a process group
    every rank takes its share of each batch and gradients are averaged, so that all ranks end with equal parameters;
    checkpoints are then not used.

    Raises TrainingFailed with the loss of every epoch if a loss is not finite, the values of a table explode, or the
    last loss is at least twice the first.
    """
    optimiser = torch.optim.Adam(groups, betas=(0.9, 0.99), fused=True)
    rates = [float(group["lr"]) for group in optimiser.param_groups]
    limits = MAX_TABLE_GROWTH**2 * _mean_squares(optimiser).clamp_min(1.0)
    data_parallel.broadcast_parameters(parameters_of(optimiser))
    # each rank draws noise of its own; a checkpoint holds the state of one generator only
    generator = torch.Generator(device).manual_seed(seed + data_parallel.rank())
    checkpoints = checkpoints if data_parallel.n_ranks() == 1 else None
    name = str(getattr(embedder, "name", embedder))
    settings = (embedder, name, epochs, batch, seed, device.type)
    key = fingerprint(matrix, *settings) if checkpoints else ""
    checkpoint = DescentCheckpoint(checkpoints, key, optimiser, generator)
    state = checkpoint.restore(name, epochs)
    for epoch in range(state.epoch, epochs + 1):
        started = time.perf_counter()
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * (1 - 0.9 * (epoch - 1) / epochs)
        for users in islice(_batches(matrix, batch, seed, epoch), state.batch, None):
            state.step += 1
            loss = _step(loss_of, optimiser, generator, matrix, users, state.step, chunk_size or batch)
            state.total, state.batch = state.total + loss, state.batch + 1
            checkpoint.save_if_due(state)
        state.losses.append(float(state.total) / max(1, state.batch))  # read once an epoch: it synchronises the GPU
        if not np.isfinite(state.losses[-1]) or not _bounded(optimiser, limits):
            checkpoint.discard()
            raise divergence_error(name, state.losses)
        state.epoch, state.batch, state.total = epoch + 1, 0, 0.0
        report(epoch, state.losses[-1], time.perf_counter() - started)
    if state.losses[-1] - state.losses[0] > MAX_LOSS_RISE * max(abs(state.losses[0]), 1.0):
        checkpoint.discard()
        raise divergence_error(name, state.losses)
    checkpoint.save_end(state)


def _step(
    loss_of: Callable[[HistoryBatch, torch.Generator, int], torch.Tensor],
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
    matrix: sp.csr_matrix,
    users: Rows,
    step: int,
    chunk_size: int,
) -> torch.Tensor:
    """One step of Adam on a batch, with gradients summed over its chunks; the mean loss of the batch."""
    device = generator.device
    optimiser.zero_grad(set_to_none=True)
    loss, own_users = torch.zeros((), device=device), data_parallel.users_of_rank(users)
    for start in range(0, len(own_users), chunk_size):
        chunk = own_users[start : start + chunk_size]
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            part = loss_of(history_batch(matrix, chunk, device), generator, step) * (len(chunk) / len(own_users))
        part.backward()  # type: ignore[no-untyped-call]
        loss += part.detach()
    loss = data_parallel.average_gradients(parameters_of(optimiser), loss, len(own_users) / len(users))
    optimiser.step()
    return loss


def _mean_squares(optimiser: torch.optim.Optimizer) -> torch.Tensor:
    return torch.stack([table.detach().square().mean() for table in parameters_of(optimiser)])


def _bounded(optimiser: torch.optim.Optimizer, limits: torch.Tensor) -> bool:
    """Whether all tables are finite and within limits; a loss on unit vectors stays finite when tables explode."""
    return bool((_mean_squares(optimiser) <= limits).all())  # False for NaN


def divergence_error(name: str, history: Sequence[float], rate: str = "learning_rate") -> TrainingFailed:
    """The error for a descent of the embedder `name`, whose learning rate is its parameter `rate`."""
    shown = [f"{value:.4g}" for value in history]
    losses = ", ".join(
        shown if len(shown) <= 2 * LOSSES_SHOWN else [*shown[:LOSSES_SHOWN], "...", *shown[-LOSSES_SHOWN:]]
    )
    return TrainingFailed(f"{name} diverged, loss by epoch {losses}; lower {rate}", losses=tuple(history))


def _batches(matrix: sp.csr_matrix, batch: int, seed: int, epoch: int) -> Iterator[Rows]:
    users = np.flatnonzero(np.diff(matrix.indptr))
    order = np.random.default_rng((seed, epoch)).permutation(users)
    for start in range(0, len(order), batch):
        yield order[start : start + batch]
