"""The training loop of all networks on records: shuffled batches, cosine learning rate, early stopping.

Early stopping watches the loss on held-out records, and the parameters of the best epoch are returned.
"""

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

HELD_OUT_SHARE, MAX_HELD_OUT = 0.1, 2000  # share and number of records for early stopping
GRADIENT_CLIP = 5.0
DEFAULT_STEPS = 3000  # rounded to whole epochs
MIN_PATIENCE_STEPS = 500  # because an epoch of few records has few steps


class Trainable(Protocol):
    """A torch module with its losses."""

    def parameter_groups(self) -> list[list[torch.nn.Parameter]]:
        """The parameters that each loss of `losses` trains."""
        ...

    def losses(self, batch: torch.Tensor, share_done: float) -> Iterator[torch.Tensor]:
        """Yield one loss after the other; an optimiser step follows each before the next is computed."""
        ...

    def held_out_loss(self, batch: torch.Tensor) -> torch.Tensor:
        """The loss for early stopping; smaller is better."""
        ...


@dataclass(frozen=True)
class Schedule:
    """Length and step size of a training."""

    epochs: int  # 0: by the number of records
    batch: int
    learning_rate: float
    patience: int  # epochs without a better held-out loss; at least MIN_PATIENCE_STEPS steps
    burn_in: float = 0.0  # share of the epochs whose states are discarded, for losses that warm up


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
    """Train `module`, a Trainable, in place on (n, width) records; returns the held-out loss of every epoch.

    Raises TrainingFailed with the losses so far if a loss is not finite.
    """
    target = torch_device(device)
    torch.manual_seed(seed)
    order = np.random.default_rng(seed).permutation(len(prepared))
    n_held_out = min(MAX_HELD_OUT, max(1, int(HELD_OUT_SHARE * len(prepared)))) if len(prepared) > 1 else 0
    records = torch.from_numpy(np.ascontiguousarray(prepared)).to(target)
    held_out = records[torch.from_numpy(order[:n_held_out]).to(target)]
    module.to(target)
    epochs = schedule.epochs or default_epochs(len(prepared), schedule.batch)
    return _train_epochs(name, module, records, order[n_held_out:], held_out, schedule, epochs, seed, progress)


def default_epochs(n: int, batch: int) -> int:
    """About 3,000 steps, and from 20 to 1,000 epochs."""
    return int(np.clip(DEFAULT_STEPS * batch / max(n, 1), 20, 1000))


def _train_epochs(
    name: str,
    module: torch.nn.Module,
    records: torch.Tensor,
    rows: np.ndarray,
    held_out: torch.Tensor,
    schedule: Schedule,
    epochs: int,
    seed: int,
    progress: Progress,
) -> list[float]:
    parameter_groups: list[list[torch.nn.Parameter]] = module.parameter_groups()  # type: ignore[operator]
    # fused: one call for all parameters; small networks spent most time between separate calls
    optimisers = [
        torch.optim.Adam(parameters, lr=schedule.learning_rate, fused=True) for parameters in parameter_groups
    ]
    generator = torch.Generator().manual_seed(seed)
    first_kept = int(schedule.burn_in * epochs)
    patience = max(schedule.patience, MIN_PATIENCE_STEPS * schedule.batch // max(len(rows), 1))
    best, best_state, best_at = _held_out_loss(module, held_out), copy.deepcopy(module.state_dict()), 0
    history = [best]
    for epoch in range(epochs):
        for group in (group for optimiser in optimisers for group in optimiser.param_groups):
            group["lr"] = schedule.learning_rate * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * epoch / epochs)))
        module.train()
        shuffled = torch.from_numpy(rows)[torch.randperm(len(rows), generator=generator)]
        for at in range(0, len(shuffled), schedule.batch):
            share = (epoch + at / len(shuffled)) / epochs
            _step(
                name, module, records[shuffled[at : at + schedule.batch]], share, optimisers, parameter_groups, history
            )
        history.append(_held_out_loss(module, held_out))
        _check_finite(name, history[-1], history)
        progress(f"epoch {epoch + 1} of {epochs}, held-out loss {history[-1]:.5f}", (epoch + 1) / epochs)
        if history[-1] < best or epoch + 1 == first_kept:
            best, best_state, best_at = history[-1], copy.deepcopy(module.state_dict()), epoch + 1
        elif epoch + 1 > first_kept and epoch + 1 - best_at >= patience:
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
    parameter_groups: list[list[torch.nn.Parameter]],
    history: list[float],
) -> None:
    losses: Iterator[torch.Tensor] = module.losses(batch, share)  # type: ignore[operator]
    for loss, optimiser, parameters in zip(losses, optimisers, parameter_groups, strict=True):
        _check_finite(name, loss.item(), history)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, GRADIENT_CLIP)
        optimiser.step()


def _held_out_loss(module: torch.nn.Module, held_out: torch.Tensor) -> float:
    module.eval()
    with torch.no_grad():
        return float(module.held_out_loss(held_out))  # type: ignore[operator]


def _check_finite(name: str, loss: float, history: list[float]) -> None:
    if not np.isfinite(loss):
        shown = ", ".join(f"{each:.4g}" for each in history[-8:])
        raise TrainingFailed(
            f"{name} diverged: the loss is not finite; held-out loss by epoch: {shown}. Nothing was saved; lower "
            "learning_rate, or look for extreme values in the columns"
        )
