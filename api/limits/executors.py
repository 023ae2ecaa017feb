"""Threads: what may take a while leaves the event loop; reads, writes and keys have threads of their own.

A write waits for a transaction that holds the same rows, as that of an import, and keeps its thread meanwhile: among
those of reads a few such writes would leave none to read with.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

# With 16 the event loop, which waits for the same lock, refused twice as late in overload.
READERS = 8  # requests read at once; more only wait for the same cores
WRITERS = 4  # and written: as many go into one flush of PostgreSQL's log
BATCHERS = 4  # and pages of many shelves, records, figures, which may take long: the readers are for the others
AT_ONCE = 2  # of what goes together, so that PostgreSQL works while the answers of the other are made
APPENDERS = AT_ONCE  # beside these, of events that go together
KEEPERS = 2  # looking for keys
PARSERS = 2  # of large bodies
CONNECTIONS = READERS + BATCHERS + WRITERS + APPENDERS + KEEPERS + 4  # and what works beside the requests

Endpoint = TypeVar("Endpoint", bound=Callable[..., object])


def readers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(READERS, "nearfield-reader")


def batchers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(BATCHERS, "nearfield-batcher")


def writers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(WRITERS, "nearfield-writer")


def appenders() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(APPENDERS, "nearfield-appender")


def keepers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(KEEPERS, "nearfield-keeper")


def parsers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(PARSERS, "nearfield-parser")


def writes(endpoint: Endpoint) -> Endpoint:
    """Marks what a route calls: it has a thread of the writers, where it is no coroutine."""
    endpoint.__dict__["writes"] = True
    return endpoint


def is_long(endpoint: Endpoint) -> Endpoint:
    """Marks what a route calls: it has a thread of the batchers."""
    endpoint.__dict__["is_long"] = True
    return endpoint


def takes_long(endpoint: Callable[..., object]) -> bool:
    return bool(getattr(endpoint, "is_long", False))


def is_write(endpoint: Callable[..., object]) -> bool:
    return bool(getattr(endpoint, "writes", False))
