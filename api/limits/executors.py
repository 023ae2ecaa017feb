"""The thread pools for work that leaves the event loop. Reads, long reads, writes and key lookups have separate pools.

A write may wait for a transaction that locks the same rows (an import) and blocks its thread meanwhile. In a shared
pool, a few blocked writes would leave no thread for reads.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

# With 16 readers the event loop, which competes for the same GIL, took twice as long to reject requests in overload.
READERS = 8
WRITERS = 4  # four transactions share one flush of PostgreSQL's WAL
LONG_READERS = 4  # for batches of shelves, records, maps; they would block the short reads
MAX_CONCURRENT_BATCHES = 2  # of one coalescer: PostgreSQL runs one while responses of the other are built
EVENT_WRITERS = MAX_CONCURRENT_BATCHES  # coalesced event writes
KEY_LOOKUPS = 2
BODY_PARSERS = 2  # for large bodies
CONNECTIONS = READERS + LONG_READERS + WRITERS + EVENT_WRITERS + KEY_LOOKUPS + 4  # 4: background threads

Endpoint = TypeVar("Endpoint", bound=Callable[..., object])


def readers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(READERS, "nearfield-reader")


def long_readers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(LONG_READERS, "nearfield-long-reader")


def writers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(WRITERS, "nearfield-writer")


def event_writers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(EVENT_WRITERS, "nearfield-event-writer")


def key_lookups() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(KEY_LOOKUPS, "nearfield-key-lookup")


def body_parsers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(BODY_PARSERS, "nearfield-body-parser")


def writes(endpoint: Endpoint) -> Endpoint:
    """Decorator of a route that writes: a plain function runs in the `writers` pool."""
    endpoint.__dict__["writes"] = True
    return endpoint


def long_running(endpoint: Endpoint) -> Endpoint:
    """Decorator of a route that reads for a long time: it runs in the `long_readers` pool."""
    endpoint.__dict__["long_running"] = True
    return endpoint


def is_long_running(endpoint: Callable[..., object]) -> bool:
    return bool(getattr(endpoint, "long_running", False))


def is_write(endpoint: Callable[..., object]) -> bool:
    return bool(getattr(endpoint, "writes", False))
