"""The strategy of the last search of this thread, for metrics: searchers record it, the recall sampler reads it.

exact; subset (exact among the few rows that a filter allows); ann; filtered ann; fallback (the ANN answer was short);
gpu.
"""

from __future__ import annotations

import threading

_last = threading.local()


def record_strategy(name: str) -> None:
    _last.name = name


def last_strategy() -> str:
    return getattr(_last, "name", "exact")
