"""Just-in-time compilation: numba compiles a loop on its first call and caches the machine code on disk.

Loops do not use numba's own threads: these are one global setting, and they crash the process after a fork.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache

FASTMATH = {"reassoc", "contract", "nsz"}  # allows vectorised sums; NaN and infinity keep their meaning


class ResilientCache(FunctionCache):
    """numba's disk cache of a function; after a damaged file or a full disk the function is compiled again.

    The cache is invalid if the function's file or one of the files `also` has changed; numba checks only the first.
    """

    def __init__(self, function: Callable[..., Any], also: tuple[str, ...]):
        super().__init__(function)
        stats = [Path(file).stat() for file in (__file__, *also)]
        stamp = [self._impl.locator.get_source_stamp(), *((each.st_mtime_ns, each.st_size) for each in stats)]
        self._cache_file._source_stamp = tuple(stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # unpickling a damaged file may raise anything
            with suppress(Exception):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(OSError):
            super().save_overload(sig, data)


def compiled(function=None, *, also=()):
    """Decorator: compile a function with numba, cached on disk if a cache folder is writeable.

    `also` lists the other files on which the machine code depends, because it includes their functions or constants.
    """
    if function is None:
        return lambda function: compiled(function, also=also)
    made = numba.njit(nogil=True, fastmath=FASTMATH)(function)
    # numba finds no cache folder if neither __pycache__ nor the user's cache is writeable, or the file is in an archive
    with suppress(RuntimeError, OSError):
        made._cache = ResilientCache(function, also)
    return made


def cache_folder(made) -> str | None:
    """The folder that caches a compiled function; None if each process compiles it."""
    return made._cache.cache_path if isinstance(made._cache, ResilientCache) else None
