"""Batcher: combines concurrent searches into one, for an index that answers many queries as fast as one."""

from __future__ import annotations

import queue
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from engine.recommending.values.searcher import Found, Mask, Searcher
from engine.values.vectors import Matrix

WAIT_S = 0.0015
MAX_QUERIES = 1024  # in a batch


@dataclass(frozen=True, eq=False)
class PendingSearch:
    queries: Matrix
    k: int
    allowed: Mask | None
    answer: Future[Found] = field(default_factory=Future)


class BatcherClosed(Exception):
    """A search came after `close`."""


class Batcher:
    """A searcher in front of another: searches within `wait_s` of the first are combined with it, separately per
    mask."""

    def __init__(self, searcher: Searcher, wait_s: float = WAIT_S, max_queries: int = MAX_QUERIES):
        self._searcher, self._wait_s, self._max_queries = searcher, wait_s, max_queries
        self._queue: queue.SimpleQueue[PendingSearch | None] = queue.SimpleQueue()
        self._lock, self._closed = threading.Lock(), False  # so that no search is queued after the end marker
        self._thread = threading.Thread(target=self._run, name="nearfield-batcher", daemon=True)
        self._thread.start()

    def search(self, queries: Matrix, k: int, allowed: Mask | None = None) -> Found:
        """As `searcher.search`, with its errors; BatcherClosed after `close`."""
        pending = PendingSearch(queries, k, allowed)
        with self._lock:
            if self._closed:
                raise BatcherClosed
            self._queue.put(pending)
        return pending.answer.result()

    def close(self) -> None:
        """Answer all queued searches, then end."""
        with self._lock:
            if not self._closed:
                self._queue.put(None)
            self._closed = True
        self._thread.join()

    def _run(self) -> None:
        first = self._queue.get()
        while first is not None:
            batch, last = self._collect(first)
            groups: dict[int, list[PendingSearch]] = {}
            for each in batch:
                groups.setdefault(id(each.allowed), []).append(each)
            for group in groups.values():
                self._answer(group)
            if last:
                return
            first = self._queue.get()

    def _collect(self, first: PendingSearch) -> tuple[list[PendingSearch], bool]:
        """The searches of the next batch, and whether it is the last one."""
        batch, n_queries, until = [first], len(first.queries), time.monotonic() + self._wait_s
        while n_queries < self._max_queries:
            try:
                each = self._queue.get(timeout=max(until - time.monotonic(), 0))
            except queue.Empty:
                break
            if each is None:
                return batch, True
            batch.append(each)
            n_queries += len(each.queries)
        return batch, False

    def _answer(self, group: list[PendingSearch]) -> None:
        k = max(each.k for each in group)
        try:
            scores, rows = self._searcher.search(np.concatenate([each.queries for each in group]), k, group[0].allowed)
        except Exception as error:
            for each in group:
                each.answer.set_exception(error)
            return
        start = 0
        for each in group:
            part = slice(start, start + len(each.queries))
            each.answer.set_result((scores[part, : each.k], rows[part, : each.k]))
            start += len(each.queries)
