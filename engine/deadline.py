"""The deadline of the current work. A Python thread cannot be cancelled, so long loops check the deadline themselves.

The deadline is a context variable: every function that a request calls sees it. Other work has no deadline.

Quick work, such as a request that is answered on the event loop, has to end without much work: code that is about to do
more calls `needs_more_work`, and the request starts again in a thread, where the call does nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import TypeVar

from engine.errors import DeadlineExceeded

CHECK_EVERY = 256  # items of a loop
T = TypeVar("T")

_deadline = ContextVar("deadline", default=math.inf)
_quick = ContextVar("quick", default=False)


def set_work_deadline(at: float) -> None:
    """Set the deadline of this context to the time `at` of `time.perf_counter`."""
    _deadline.set(at)


def check_deadline() -> None:
    """Raise DeadlineExceeded if the deadline has passed."""
    if time.perf_counter() >= _deadline.get():
        raise DeadlineExceeded(
            "the request was not finished before its deadline; ask for less or with a larger deadline_ms"
        )


def until_deadline(items: Iterable[T], every: int = CHECK_EVERY) -> Iterator[T]:
    """Yield the items, and check the deadline at the first one and at each `every`-th one after it."""
    for at, item in enumerate(items):
        if at % every == 0:
            check_deadline()
        yield item


class MoreWork(Exception):
    """The work is not quick. Not an error of the product: the caller repeats the work where it may take longer."""


def needs_more_work() -> None:
    """Raise MoreWork if the current work has to be quick."""
    if _quick.get():
        raise MoreWork


def quick(work: Callable[[], T]) -> T:
    """`work()`, or MoreWork."""
    token = _quick.set(True)
    try:
        return work()
    finally:
        _quick.reset(token)
