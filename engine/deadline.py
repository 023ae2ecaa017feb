"""Until: when work ends that nobody waits for any more. A thread cannot be stopped from without, so long loops look.

It is of the context, so that whatever a request calls knows it; work of nobody has no end.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import TypeVar

from engine.errors import DeadlineExceeded

CHECK_EVERY = 256
T = TypeVar("T")

_until = ContextVar("until", default=math.inf)


def set_work_deadline(at: float) -> None:
    """By time.perf_counter; of this context from now on."""
    _until.set(at)


def check_deadline() -> None:
    """DeadlineExceeded once the time has come."""
    if time.perf_counter() >= _until.get():
        raise DeadlineExceeded("it was not done in time; ask again, for less or with a larger deadline_ms")


def until_deadline(each: Iterable[T], every: int = CHECK_EVERY) -> Iterator[T]:
    """The same, with a look at the time at the first and every so many."""
    for at, one in enumerate(each):
        if at % every == 0:
            check_deadline()
        yield one
