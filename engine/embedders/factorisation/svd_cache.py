"""A cache of factorisations: inside `svd_cache()`, the SVD of one matrix with the same options is computed once.

A narrower SVD is a truncated wider one, so trials of many dimensions and filters cost one factorisation.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, Self, TypeVar

import scipy.sparse as sp

MAX_CACHED = 3  # a blend has three factorisations; one of 40,000 items and 1024 dimensions is 160 MB


class Truncatable(Protocol):
    def truncate(self, dim: int) -> Self:
        """The first `dim` dimensions."""
        ...


Factorisation = TypeVar("Factorisation", bound=Truncatable)
Cache = OrderedDict[Hashable, tuple[sp.csr_matrix, int, Truncatable]]

_cache: ContextVar[Cache | None] = ContextVar("svd_cache", default=None)


@contextmanager
def svd_cache() -> Iterator[None]:
    """Cache factorisations inside the `with` block; the cache is dropped at its end."""
    token = _cache.set(OrderedDict())
    try:
        yield
    finally:
        _cache.reset(token)


def cached_svd(
    matrix: sp.csr_matrix, key: tuple[Hashable, ...], dim: int, compute: Callable[[], Factorisation]
) -> Factorisation:
    """The result of `compute()` in `dim` dimensions, or a cached wider one of the same matrix and key, truncated."""
    cache = _cache.get()
    if cache is None:
        return compute()
    full_key = (id(matrix), *key)  # the entry holds the matrix, so its id cannot be reused
    if full_key not in cache or cache[full_key][1] < dim:
        cache[full_key] = (matrix, dim, compute())
    cache.move_to_end(full_key)
    while len(cache) > MAX_CACHED:
        cache.popitem(last=False)
    truncated: Factorisation = cache[full_key][2].truncate(dim)  # type: ignore[assignment]
    return truncated
