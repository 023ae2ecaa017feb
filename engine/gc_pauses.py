"""Collection: Python's search for garbage, during which no thread of the process goes on.

It looks at all objects, again and again while many are made. Of 280,000 items that an import changed each look took
half a second, on a server that answers meanwhile.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused_gc() -> Iterator[None]:
    """Where many objects are made that stay: no object that the process has by the end is looked at, then or later.
    They go when nobody refers to them any more, as all do; of them only what refers to itself in a circle stays."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
