"""The one torch loop: shuffled batches, cosine steps, early stopping on held-out records, the best state kept."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from engine.embedders.training.device import torch_device
from engine.errors import TrainingFailed
from engine.progress import Progress, no_progress
from engine.values.vectors import Matrix

HELD_OUT_SHARE, MAX_HELD_OUT = 0.1, 2000  # share and number of records that decide when to stop
GRADIENT_CLIP = 5.0
DEFAULT_STEPS = 3000  # what training takes when nobody says, in whole passes
MIN_PATIENCE_STEPS = 500  # on few records an epoch is a handful of steps


class Trainable(Protocol):
    """A torch module with its losses."""

    def parts(self) -> list[list[torch.nn.Parameter]]:
        """The parameters that each loss of `losses` moves."""
        ...

    def losses(self, batch: torch.Tensor, share_done: float) -> Iterator[torch.Tensor]:
        """One loss after the other; each is stepped on before the next is asked for."""
        ...

    def held_out(self, batch: torch.Tensor) -> torch.Tensor:
        """What early stopping watches, the smaller the better."""
        ...


@dataclass(frozen=True)
class Schedule:
    epochs: int  # 0: by the number of records
    batch: int
    learning_rate: float
    patience: int  # epochs without a better held-out loss, or PATIENT_STEPS where those are more
    settle: float = 0.0  # share of the epochs before which nothing is kept: losses that warm up


def train_module(
    name: str,
    module: torch.nn.Module,
    prepared: Matrix,
    schedule: Schedule,
    *,
    seed: int,
    device: str,
    progress: Progress = no_progress,
) -> list[float]:
    """Train `module`, a Trainable, in place on (n, width) records; the held-out loss of every epoch.

    Raises TrainingFailed with the loss history when a loss is not finite.
    """
    where = torch_device(device)
    torch.manual_seed(seed)
    order = np.random.default_rng(seed).permutation(len(prepared))
    n_held = min(MAX_HELD_OUT, max(1, int(HELD_OUT_SHARE * len(prepared)))) if len(prepared) > 1 else 0
    records = torch.from_numpy(np.ascontiguousarray(prepared)).to(where)
    held = records[torch.from_numpy(order[:n_held]).to(where)]
    module.to(where)
    epochs = schedule.epochs or default_epochs(len(prepared), schedule.batch)
    return _train_epochs(name, module, records, order[n_held:], held, schedule, epochs, seed, progress)


def default_epochs(n: int, batch: int) -> int:
    """About 3,000 steps, within 20 to 1,000 passes."""
    return int(np.clip(DEFAULT_STEPS * batch / max(n, 1), 20, 1000))


def _train_epochs(
    name: str,
    module: torch.nn.Module,
    records: torch.Tensor,
    rows: np.ndarray,
    held: torch.Tensor,
    schedule: Schedule,
    epochs: int,
    seed: int,
    progress: Progress,
) -> list[float]:
    parts: list[list[torch.nn.Parameter]] = module.parts()  # type: ignore[operator]
    # fused: one call for all parameters; small networks spent more time between the calls than in them
    optimisers = [torch.optim.Adam(part, lr=schedule.learning_rate, fused=True) for part in parts]
    generator = torch.Generator().manual_seed(seed)
    settled = int(schedule.settle * epochs)
    patience = max(schedule.patience, MIN_PATIENCE_STEPS * schedule.batch // max(len(rows), 1))
    best, best_state, best_at = _held_out_loss(module, held), copy.deepcopy(module.state_dict()), 0
    history = [best]
    for epoch in range(epochs):
        for group in (group for optimiser in optimisers for group in optimiser.param_groups):
            group["lr"] = schedule.learning_rate * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * epoch / epochs)))
        module.train()
        shuffled = torch.from_numpy(rows)[torch.randperm(len(rows), generator=generator)]
        for at in range(0, len(shuffled), schedule.batch):
            share = (epoch + at / len(shuffled)) / epochs
            _step(name, module, records[shuffled[at : at + schedule.batch]], share, optimisers, parts, history)
        history.append(_held_out_loss(module, held))
        _check_finite(name, history[-1], history)
        progress(f"epoch {epoch + 1} of {epochs}, held-out loss {history[-1]:.5f}", (epoch + 1) / epochs)
        if history[-1] < best or epoch + 1 == settled:
            best, best_state, best_at = history[-1], copy.deepcopy(module.state_dict()), epoch + 1
        elif epoch + 1 > settled and epoch + 1 - best_at >= patience:
            break
    module.load_state_dict(best_state)
    module.eval()
    return history


def _step(
    name: str,
    module: torch.nn.Module,
    batch: torch.Tensor,
    share: float,
    optimisers: list[torch.optim.Adam],
    parts: list[list[torch.nn.Parameter]],
    history: list[float],
) -> None:
    losses: Iterator[torch.Tensor] = module.losses(batch, share)  # type: ignore[operator]
    for loss, optimiser, part in zip(losses, optimisers, parts, strict=True):
        _check_finite(name, loss.item(), history)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(part, GRADIENT_CLIP)
        optimiser.step()


def _held_out_loss(module: torch.nn.Module, held: torch.Tensor) -> float:
    module.eval()
    with torch.no_grad():
        return float(module.held_out(held))  # type: ignore[operator]


def _check_finite(name: str, loss: float, history: list[float]) -> None:
    if not np.isfinite(loss):
        told = ", ".join(f"{each:.4g}" for each in history[-8:])
        raise TrainingFailed(
            f"{name} diverged: the loss is not finite; held-out loss by epoch: {told}. Nothing was saved; lower "
            "learning_rate, or look for extreme values in the columns"
        )
