"""Data-parallel training over torch.distributed: each process (rank) computes gradients for its share of every batch.

torchrun starts the processes: `torchrun --nproc-per-node 2 --no-python nearfield reindex`. Rank 0 runs the command. The
other ranks only join the fits that rank 0 sends them, so they need no database, and choices that depend on trials or
time are made once. Without torchrun this module changes nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist

FOLLOWER_TIMEOUT = timedelta(days=7)  # for the next fit; a search may take as long as its budget
GRACE_S = 5.0  # time for rank 0 to fail with its own error before a follower's error ends the job

Result = TypeVar("Result")

_in_joint_fit: ContextVar[bool] = ContextVar("in_joint_fit", default=False)  # all ranks run the same fit
# the group over which rank 0 sends fits to the followers
_command_group: ContextVar[dist.ProcessGroup | None] = ContextVar("command_group", default=None)
_on_rank_0_only: ContextVar[bool] = ContextVar("on_rank_0_only", default=False)  # rank 0 fits without the others


def run_with_followers(command: Callable[[], Result]) -> Result | None:
    """Run `command` on rank 0 and return its result; the other ranks join its fits and return None.

    The process group uses gloo for CPU tensors and nccl for GPU tensors; each rank uses the GPU of its LOCAL_RANK. An
    error on a follower ends its process, and torchrun then stops the other ranks.
    """
    if "MASTER_ADDR" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return command()
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group()
    # gloo, because nccl times out earlier and sends only GPU tensors
    group = dist.new_group(backend="gloo", timeout=FOLLOWER_TIMEOUT)
    if dist.get_rank() > 0:
        _follow(group)
        result = None
    else:
        result = _lead(command, group)  # an error ends this process, and torchrun then stops the followers
    dist.destroy_process_group()
    return result


def _lead(command: Callable[[], Result], group: dist.ProcessGroup) -> Result:
    token = _command_group.set(group)
    try:
        result = command()
    finally:
        _command_group.reset(token)
    dist.broadcast_object_list([None], src=0, group=group)
    return result


def _follow(group: dist.ProcessGroup) -> None:
    while (work := _receive_fit(group)) is not None:
        try:
            with _enabled(_in_joint_fit):
                work()
        except Exception:
            time.sleep(GRACE_S)
            raise


def _receive_fit(group: dist.ProcessGroup) -> Callable[[], object] | None:
    """The next fit that rank 0 sends; None if rank 0 has ended, also by an error, which rank 0 reports itself."""
    received: list[Callable[[], object] | None] = [None]
    try:
        dist.broadcast_object_list(received, src=0, group=group)
    except RuntimeError:  # the connection is closed
        return None
    return received[0]


def fit_on_all_ranks(work: Callable[..., Result], **rank_0_options: object) -> Result:
    """Run `work` on every rank and return rank 0's result. `work` must be picklable; only rank 0 gets the options."""
    group = _command_group.get()
    if group is None or _on_rank_0_only.get():
        return work(**rank_0_options)
    dist.broadcast_object_list([work], src=0, group=group)
    with _enabled(_in_joint_fit):
        return work(**rank_0_options)


@contextmanager
def rank_0_only() -> Iterator[None]:
    """Fit on rank 0 only: for trials, which end by the clock of one process."""
    with _enabled(_on_rank_0_only):
        yield


@contextmanager
def _enabled(flag: ContextVar[bool]) -> Iterator[None]:
    token = flag.set(True)
    try:
        yield
    finally:
        flag.reset(token)


def n_ranks() -> int:
    """The number of ranks in the current fit; 1 outside a joint fit."""
    return dist.get_world_size() if _in_joint_fit.get() else 1


def rank() -> int:
    return dist.get_rank() if _in_joint_fit.get() else 0


def users_of_rank(users: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """This rank's users of a batch; empty for some ranks if there are fewer users than ranks."""
    return users[rank() :: n_ranks()]


def broadcast_parameters(parameters: Sequence[torch.Tensor]) -> None:
    """Copy the parameters of rank 0 to every rank."""
    if n_ranks() > 1:
        for parameter in parameters:
            dist.broadcast(parameter.detach(), src=0)


def average_gradients(parameters: Sequence[torch.Tensor], loss: torch.Tensor, share: float) -> torch.Tensor:
    """Sum the gradients over ranks, in place, and return the loss of the whole batch.

    Both are means over this rank's users, who are `share` of the batch.
    """
    if n_ranks() == 1:
        return loss
    total = loss * share
    dist.all_reduce(total)
    for parameter in parameters:
        if parameter.grad is None:  # this rank has no user of the batch
            parameter.grad = torch.zeros_like(parameter)
        parameter.grad.mul_(share)
        dist.all_reduce(parameter.grad)
    return total
