"""Request coalescing: requests that arrive while a batch is in progress are processed together in the next batch.

No timer is involved: a lone request starts at once and costs the same as without coalescing. A request joins only a
batch that starts after the request arrived, so it sees every change committed before it arrived.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

from api.limits.executors import MAX_CONCURRENT_BATCHES

MAX_BATCH = 64

Request = TypeVar("Request")
Result = TypeVar("Result")


class Coalescer(Generic[Request, Result]):
    """For one event loop. Calls `process_batch` in a thread of `threads` (default: the loop's executor).

    `process_batch` returns one result per request, in order; an Exception in place of a result is raised to that caller
    only. An error that `process_batch` raises is raised to every caller of the batch. Cancelled requests are dropped.
    """

    def __init__(
        self,
        process_batch: Callable[[Sequence[Request]], Sequence[Result | Exception]],
        threads: Executor | None = None,
    ):
        self._process_batch, self._threads = process_batch, threads
        self._pending: list[tuple[Request, asyncio.Future[Result]]] = []
        self._workers: set[asyncio.Task[None] | None] = set()

    async def submit(self, request: Request) -> Result:
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._pending.append((request, future))
        if len(self._workers) < MAX_CONCURRENT_BATCHES:
            self._workers.add(asyncio.create_task(self._run_worker()))
        return await future

    async def _run_worker(self) -> None:
        try:
            await self._process_pending()
        finally:
            # A done callback of the task would run one loop iteration later: a request submitted in between would
            # count this worker, start none, and wait for a batch that never comes.
            self._workers.discard(asyncio.current_task())

    async def _process_pending(self) -> None:
        while self._pending:
            self._pending = [each for each in self._pending if not each[1].done()]  # done: cancelled or timed out
            batch, self._pending = self._pending[:MAX_BATCH], self._pending[MAX_BATCH:]
            if not batch:
                return
            requests = [request for request, _ in batch]
            results: Sequence[Result | Exception]
            try:
                results = await asyncio.get_running_loop().run_in_executor(self._threads, self._process_batch, requests)
            except Exception as error:
                results = [error] * len(batch)
            for (_, future), result in zip(batch, results, strict=True):
                if future.done():  # the client disconnected during the batch
                    continue
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)
