"""Compiled: a loop that numba compiles to machine code when it is first called, and keeps on disk where it can.

Loops run without numba's own threads: those are one global setting, and end the process after a fork.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache

FASTMATH = {"reassoc", "contract", "nsz"}  # sums as vectors; not and infinity stay what they are


class ResilientCache(FunctionCache):
    """numba's cache of a function, of which a damaged file or a full disk only means that it is compiled again.

    It is out of date where the function's file or one of `also` has changed; numba asks for the first alone.
    """

    def __init__(self, function: Callable[..., Any], also: tuple[str, ...]):
        super().__init__(function)
        stats = [Path(file).stat() for file in (__file__, *also)]
        stamp = [self._impl.locator.get_source_stamp(), *((each.st_mtime_ns, each.st_size) for each in stats)]
        self._cache_file._source_stamp = tuple(stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # whatever unpickling half a file ends in
            with suppress(Exception):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(OSError):
            super().save_overload(sig, data)


def compiled(function=None, *, also=()):
    """With a cache on disk where a folder can be written to, else compiled again in each process.

    `also` are the files of what the function is made of beside its own: compiled functions and numbers.
    """
    if function is None:
        return lambda function: compiled(function, also=also)
    made = numba.njit(nogil=True, fastmath=FASTMATH)(function)
    # "no locator available": neither __pycache__ nor the user's cache folder; or a file that is in an archive
    with suppress(RuntimeError, OSError):
        made._cache = ResilientCache(function, also)
    return made


def cache_folder(made) -> str | None:
    """The folder that a compiled function is kept in; None: each process compiles it."""
    return made._cache.cache_path if isinstance(made._cache, ResilientCache) else None
