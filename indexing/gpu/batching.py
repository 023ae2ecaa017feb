"""Batcher: searches that come at the same time become one, for an index that answers many queries as fast as one."""

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
MOST = 1024  # queries of a batch


@dataclass(frozen=True, eq=False)
class Asked:
    queries: Matrix
    k: int
    allowed: Mask | None
    answer: Future[Found] = field(default_factory=Future)


class Closed(Exception):
    """A batcher was asked after its end."""


class Batcher:
    """A searcher before another: what is asked within `wait_s` of the first goes along with it, by mask."""

    def __init__(self, searcher: Searcher, wait_s: float = WAIT_S, most: int = MOST):
        self._searcher, self._wait_s, self._most = searcher, wait_s, most
        self._asked: queue.SimpleQueue[Asked | None] = queue.SimpleQueue()
        self._lock, self._closed = threading.Lock(), False  # so that nothing is asked behind the end
        self._thread = threading.Thread(target=self._run, name="nearfield-batcher", daemon=True)
        self._thread.start()

    def search(self, queries: Matrix, k: int, allowed: Mask | None = None) -> Found:
        """As the searcher behind; raises what it raised, and Closed after `close`."""
        asked = Asked(queries, k, allowed)
        with self._lock:
            if self._closed:
                raise Closed
            self._asked.put(asked)
        return asked.answer.result()

    def close(self) -> None:
        """Answer what was asked, then end."""
        with self._lock:
            if not self._closed:
                self._asked.put(None)
            self._closed = True
        self._thread.join()

    def _run(self) -> None:
        first = self._asked.get()
        while first is not None:
            batch, last = self._collected(first)
            groups: dict[int, list[Asked]] = {}
            for each in batch:
                groups.setdefault(id(each.allowed), []).append(each)
            for group in groups.values():
                self._answer(group)
            if last:
                return
            first = self._asked.get()

    def _collected(self, first: Asked) -> tuple[list[Asked], bool]:
        """What came in time, and whether nothing will come any more."""
        batch, n_queries, until = [first], len(first.queries), time.monotonic() + self._wait_s
        while n_queries < self._most:
            try:
                each = self._asked.get(timeout=max(until - time.monotonic(), 0))
            except queue.Empty:
                break
            if each is None:
                return batch, True
            batch.append(each)
            n_queries += len(each.queries)
        return batch, False

    def _answer(self, group: list[Asked]) -> None:
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
