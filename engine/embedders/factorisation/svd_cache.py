"""One SVD for many trials: inside `shared()`, the factors of one matrix with the same exponents are found once.

A narrower model is the wide one cut off, so a race over ranks and filters costs one factorisation.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, Self, TypeVar

import scipy.sparse as sp

KEPT = 3  # factorisations: a blend has three; one of 40,000 items and 1024 dimensions is 160 MB


class Cuttable(Protocol):
    def cut(self, dim: int) -> Self:
        """The first `dim` dimensions."""
        ...


Found = TypeVar("Found", bound=Cuttable)
Held = OrderedDict[Hashable, tuple[sp.csr_matrix, int, Cuttable]]

_held: ContextVar[Held | None] = ContextVar("held", default=None)


@contextmanager
def shared() -> Iterator[None]:
    token = _held.set(OrderedDict())
    try:
        yield
    finally:
        _held.reset(token)


def once(matrix: sp.csr_matrix, key: tuple[Hashable, ...], dim: int, find: Callable[[], Found]) -> Found:
    """What `find` finds in `dim` dimensions, or a wider one found before for the same matrix and key, cut."""
    held = _held.get()
    if held is None:
        return find()
    place = (id(matrix), *key)  # the matrix is kept beside it, so no other one can take its id
    if place not in held or held[place][1] < dim:
        held[place] = (matrix, dim, find())
    held.move_to_end(place)
    while len(held) > KEPT:
        held.popitem(last=False)
    found: Found = held[place][2].cut(dim)  # type: ignore[assignment]
    return found
