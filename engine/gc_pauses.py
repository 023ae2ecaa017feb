"""Avoidance of garbage collection pauses: Python's cyclic garbage collector stops all threads of the process.

The collector scans all objects, and runs repeatedly while many are created. When an import changed 280,000 items, each
scan took half a second on a server that was answering requests.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused_gc() -> Iterator[None]:
    """Disable collection while many long-lived objects are created, and exclude them from all later collections.

    Reference counting still frees them; only reference cycles among them are never freed.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
