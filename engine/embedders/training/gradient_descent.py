"""Gradient descent over users in mini-batches, for the models that learn from interactions.

Every draw comes from the seed, so a fit on one device repeats exactly. A loss that is not finite, or rises, ends it.
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
from engine.embedders.training.descent_checkpoint import Keeper, fingerprint, parameters_of
from engine.errors import TrainingFailed

Report = Callable[[int, float, float], None]  # epoch from 1, mean loss, seconds
SHOWN = 10  # losses told of either end of a long training
RISE = 1.0  # the last loss above the first by this share of it is a divergence; tiny data is noisy, a KL term warms up
GROWN = 1e4  # a table whose root mean square is so many times what it was, or 1, has exploded
Rows = npt.NDArray[np.int64]


def silent(epoch: int, loss: float, seconds: float) -> None:
    """No report."""


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of a batch of histories, flat: cell c is item `columns[c]` of user `rows[c]` of the batch."""

    rows: torch.Tensor  # (n_cells,) int64, ascending
    columns: torch.Tensor  # (n_cells,) int64
    weights: torch.Tensor  # (n_cells,) float32
    users: torch.Tensor  # (n_users,) int64, their rows in all of the data

    @property
    def n_users(self) -> int:
        return len(self.users)

    def where(self, kept: torch.Tensor) -> Cells:
        return Cells(self.rows[kept], self.columns[kept], self.weights[kept], self.users)

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
        torch.from_numpy(users.astype(np.int64)).to(device),
    )


def descend(
    embedder: object,
    loss_of: Callable[[Cells, torch.Generator, int], torch.Tensor],
    groups: list[dict[str, object]],
    matrix: sp.csr_matrix,
    *,
    epochs: int,
    batch: int,
    seed: int,
    device: torch.device,
    at_once: int | None = None,
    report: Report = silent,
    checkpoints: Checkpoints | None = None,
) -> None:
    """Adam on `groups` over all users with a history, `epochs` times, the step size falling linearly to a tenth.

    `loss_of(cells, generator, step)` is the mean over the users of a batch, steps counted from 1; on a GPU its products
    are bfloat16. `at_once` users of a batch are worked on together, all by default; the step is that of the batch. Goes
    on from a checkpoint of the same data, embedder and seed and ends as if it had not stopped.
    Under a process group every rank takes its share of each batch, gradients are averaged and all end alike, without
    checkpoints.
    Raises TrainingFailed with the loss of every epoch when a loss is not finite, a table explodes, or the last
    loss is twice the first.
    """
    optimiser = torch.optim.Adam(groups, betas=(0.9, 0.99), fused=True)
    rates = [float(group["lr"]) for group in optimiser.param_groups]
    limits = GROWN**2 * _mean_squares(optimiser).clamp_min(1.0)
    data_parallel.begin_alike(parameters_of(optimiser))
    # every rank draws its own noise; its state is not kept of several
    generator = torch.Generator(device).manual_seed(seed + data_parallel.rank())
    checkpoints = checkpoints if data_parallel.n_ranks() == 1 else None
    name = str(getattr(embedder, "name", embedder))
    told = (embedder, name, epochs, batch, seed, device.type)
    keeper = Keeper(checkpoints, fingerprint(matrix, *told) if checkpoints else "", optimiser, generator)
    place = keeper.restored(name, epochs)
    for epoch in range(place.epoch, epochs + 1):
        started = time.perf_counter()
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * (1 - 0.9 * (epoch - 1) / epochs)
        for users in islice(_batches(matrix, batch, seed, epoch), place.batch, None):
            place.step += 1
            loss = _step(loss_of, optimiser, generator, matrix, users, place.step, at_once or batch)
            place.total, place.batch = place.total + loss, place.batch + 1
            keeper.now_and_then(place)
        place.losses.append(float(place.total) / max(1, place.batch))  # read once an epoch: a GPU is not made to wait
        if not np.isfinite(place.losses[-1]) or not _bounded(optimiser, limits):
            keeper.forget()
            raise diverged(name, place.losses)
        place.epoch, place.batch, place.total = epoch + 1, 0, 0.0
        report(epoch, place.losses[-1], time.perf_counter() - started)
    if place.losses[-1] - place.losses[0] > RISE * max(abs(place.losses[0]), 1.0):
        keeper.forget()
        raise diverged(name, place.losses)
    keeper.finished(place)


def _step(
    loss_of: Callable[[Cells, torch.Generator, int], torch.Tensor],
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
    matrix: sp.csr_matrix,
    users: Rows,
    step: int,
    at_once: int,
) -> torch.Tensor:
    """One step of Adam on the users of a batch, their gradients summed over pieces of it; their loss."""
    device = generator.device
    optimiser.zero_grad(set_to_none=True)
    loss, mine = torch.zeros((), device=device), data_parallel.share_of(users)
    for start in range(0, len(mine), at_once):
        piece = mine[start : start + at_once]
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            part = loss_of(cells_of(matrix, piece, device), generator, step) * (len(piece) / len(mine))
        part.backward()  # type: ignore[no-untyped-call]
        loss += part.detach()
    loss = data_parallel.average(parameters_of(optimiser), loss, len(mine) / len(users))
    optimiser.step()
    return loss


def _mean_squares(optimiser: torch.optim.Optimizer) -> torch.Tensor:
    return torch.stack([table.detach().square().mean() for table in parameters_of(optimiser)])


def _bounded(optimiser: torch.optim.Optimizer, limits: torch.Tensor) -> bool:
    """Whether tables are finite and of a sane size: a loss of unit vectors stays finite when they explode."""
    return bool((_mean_squares(optimiser) <= limits).all())  # false for NaN


def diverged(name: str, history: Sequence[float], rate: str = "learning_rate") -> TrainingFailed:
    """What ends a descent of the embedder `name`, whose step size is its parameter `rate`."""
    told = [f"{value:.4g}" for value in history]
    losses = ", ".join(told if len(told) <= 2 * SHOWN else [*told[:SHOWN], "...", *told[-SHOWN:]])
    return TrainingFailed(f"{name} diverged, loss by epoch {losses}; lower {rate}", losses=tuple(history))


def _batches(matrix: sp.csr_matrix, batch: int, seed: int, epoch: int) -> Iterator[Rows]:
    users = np.flatnonzero(np.diff(matrix.indptr))
    order = np.random.default_rng((seed, epoch)).permutation(users)
    for start in range(0, len(order), batch):
        yield order[start : start + batch]
