"""Data-parallel training over torch.distributed: each process, a rank, learns from its share of every batch.

Whoever starts the processes makes the group (gloo on CPU, nccl on GPUs) and gives each the same interactions, embedder
and seed: `torchrun --nproc-per-node 2 scripts/bench_quality.py ...` does. What is chosen by trial and time, rank 0
chooses. Without a group nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist

from engine.errors import NearfieldError

LONGEST = timedelta(days=7)  # that the others wait for a decision; a search takes as long as it is given

Decided = TypeVar("Decided")

_alone: ContextVar[bool] = ContextVar("alone", default=False)


def n_ranks() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() and not _alone.get() else 1


def rank() -> int:
    return dist.get_rank() if n_ranks() > 1 else 0


def decided(decide: Callable[[], Decided]) -> Decided:
    """What rank 0 finds, training alone, in every rank, and the NearfieldError that it finds instead.

    For what depends on the clock: ranks that each raced would choose different models and then wait for each other.
    """
    if n_ranks() == 1:
        return decide()
    group = dist.new_group(backend="gloo", timeout=LONGEST)  # nccl sends tensors of a GPU only, and gives up earlier
    found: list[Any] = [_found(decide)] if rank() == 0 else [None]
    dist.broadcast_object_list(found, src=0, group=group)
    if isinstance(found[0], NearfieldError):
        raise found[0]
    made: Decided = found[0]
    return made


def _found(decide: Callable[[], Decided]) -> Decided | NearfieldError:
    token = _alone.set(True)
    try:
        return decide()
    except NearfieldError as error:
        return error
    finally:
        _alone.reset(token)


def share_of(users: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """This rank's users of a batch; none where there are fewer than ranks."""
    return users[rank() :: n_ranks()]


def begin_alike(parameters: Sequence[torch.Tensor]) -> None:
    """Rank 0's values in every rank."""
    if n_ranks() > 1:
        for parameter in parameters:
            dist.broadcast(parameter.detach(), src=0)


def average(parameters: Sequence[torch.Tensor], loss: torch.Tensor, share: float) -> torch.Tensor:
    """The gradients and the loss of the whole batch, of means over users that are `share` of it here."""
    if n_ranks() == 1:
        return loss
    whole = loss * share
    dist.all_reduce(whole)
    for parameter in parameters:
        if parameter.grad is None:  # no user of the batch is here
            parameter.grad = torch.zeros_like(parameter)
        parameter.grad.mul_(share)
        dist.all_reduce(parameter.grad)
    return whole
