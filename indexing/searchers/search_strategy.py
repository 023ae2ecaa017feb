"""Which way the last search of this thread went, for those who count: told by searchers, read by whoever watches.

exact, subset (exact among the few rows a filter allows), ann, filtered ann, fallback (an ANN answer was short) or gpu.
"""

from __future__ import annotations

import threading

_last = threading.local()


def went(way: str) -> None:
    _last.way = way


def last() -> str:
    return getattr(_last, "way", "exact")
