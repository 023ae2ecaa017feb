"""Data-parallel training over torch.distributed: each process, a rank, learns from its share of every batch.

torchrun starts the processes: `torchrun --nproc-per-node 2 --no-python nearfield reindex`. Rank 0 runs the command as
it would alone. The others follow: what rank 0 fits they fit with it, and nothing else, so that they need no database
and what is chosen by trial and time is chosen once. Without torchrun nothing here does anything.
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

LONGEST = timedelta(days=7)  # that a follower waits for what to learn next: a search takes as long as it is given
GRACE_S = 5.0  # for rank 0 to end with its own error, before a follower that has one ends all

Found = TypeVar("Found")

_together: ContextVar[bool] = ContextVar("together", default=False)  # all ranks are in the same fit
_orders: ContextVar[dist.ProcessGroup | None] = ContextVar("orders", default=None)  # of rank 0 to its followers
_alone: ContextVar[bool] = ContextVar("alone", default=False)  # rank 0 fits without the others


def with_followers(command: Callable[[], Found]) -> Found | None:
    """What the command returns, in rank 0; the others that torchrun started follow it and return None.

    The group has gloo for what is on CPUs and nccl for GPUs, of which each rank takes the one of its LOCAL_RANK.
    A follower ends all by the error that it has and rank 0 has not: torchrun stops the rest.
    """
    if "MASTER_ADDR" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return command()
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group()
    orders = dist.new_group(backend="gloo", timeout=LONGEST)  # nccl gives up earlier, and sends tensors of a GPU only
    if dist.get_rank() > 0:
        _follow(orders)
        found = None
    else:
        found = _lead(command, orders)  # its error ends the process, by which torchrun stops the followers
    dist.destroy_process_group()
    return found


def _lead(command: Callable[[], Found], orders: dist.ProcessGroup) -> Found:
    token = _orders.set(orders)
    try:
        found = command()
    finally:
        _orders.reset(token)
    dist.broadcast_object_list([None], src=0, group=orders)
    return found


def _follow(orders: dist.ProcessGroup) -> None:
    while (work := _ordered(orders)) is not None:
        try:
            with _set(_together):
                work()
        except Exception:
            time.sleep(GRACE_S)
            raise


def _ordered(orders: dist.ProcessGroup) -> Callable[[], object] | None:
    """What rank 0 fits next; None where it has ended, be it by an error, which it tells itself."""
    told: list[Callable[[], object] | None] = [None]
    try:
        dist.broadcast_object_list(told, src=0, group=orders)
    except RuntimeError:  # the connection is closed
        return None
    return told[0]


def together(work: Callable[..., Found], **own: object) -> Found:
    """What `work`, which pickle takes, makes here while every follower does the same; `own` is for rank 0 alone."""
    orders = _orders.get()
    if orders is None or _alone.get():
        return work(**own)
    dist.broadcast_object_list([work], src=0, group=orders)
    with _set(_together):
        return work(**own)


@contextmanager
def alone() -> Iterator[None]:
    """Rank 0 by itself: for trials, which end when the clock of one process says so."""
    with _set(_alone):
        yield


@contextmanager
def _set(flag: ContextVar[bool]) -> Iterator[None]:
    token = flag.set(True)
    try:
        yield
    finally:
        flag.reset(token)


def n_ranks() -> int:
    """That learn together now."""
    return dist.get_world_size() if _together.get() else 1


def rank() -> int:
    return dist.get_rank() if _together.get() else 0


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
