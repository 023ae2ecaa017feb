"""Which way the last search of this thread went, for those who count: told by searchers, read by whoever watches."""

from __future__ import annotations

import threading

WAYS = ("exact", "subset", "ann", "filtered ann", "fallback", "gpu")

_last = threading.local()


def went(way: str) -> None:
    _last.way = way


def last() -> str:
    return getattr(_last, "way", "exact")
