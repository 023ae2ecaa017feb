"""Compiled: a loop that numba compiles to machine code when it is first called, and keeps on disk where it can.

Loops run without numba's own threads: those are one global setting, and end the process after a fork.
"""

from __future__ import annotations

import numba

FAST = {"reassoc", "contract", "nsz"}  # sums as vectors; not and infinity stay what they are


def compiled(function):  # type: ignore[no-untyped-def]
    """With numba's cache on disk where a folder can be written to, else compiled again in each process."""
    try:
        return numba.njit(nogil=True, fastmath=FAST, cache=True)(function)
    except RuntimeError:  # "no locator available": neither __pycache__ nor the user's cache folder
        return numba.njit(nogil=True, fastmath=FAST)(function)
