"""DeadlineRoute: the route class of every route. It reads the deadline of a request and runs the endpoint in a thread
pool.

A Python thread cannot be cancelled. When a request times out, its response is abandoned and the thread keeps running;
the pools of `executors` are therefore small, and queued work whose request has timed out is dropped. FastAPI's own pool
is not used: it counts a thread as free as soon as its request is abandoned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextlib import suppress
from contextvars import ContextVar, copy_context
from functools import partial, wraps
from inspect import iscoroutinefunction
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import ValidationError

from api.limits.body_parsing import parse_body
from api.limits.concurrency_limit import MAX_BLOCKED
from api.limits.deadline import set_deadline
from api.limits.executors import is_long_running, is_write
from api.messages.request_schemas import ReadOptions
from engine.errors import StoreBusy

_executor = ContextVar[Executor | None]("executor", default=None)  # None: the default executor of the event loop


class DeadlineRoute(APIRoute):
    """An endpoint that is a plain function runs in a thread: of the `writers` for `@writes`, of the `long_readers` for
    `@long_running`, else of the `readers`. A write that blocks on another transaction gives its concurrency slot back.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any):
        super().__init__(path, endpoint if iscoroutinefunction(endpoint) else _run_in_thread(endpoint), **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle, writes = super().get_route_handler(), is_write(self.endpoint)
        pool = "writers" if writes else "long_readers" if is_long_running(self.endpoint) else None

        async def handle_in_time(request: Request) -> Response:
            state = request.app.state
            # Set in every case: requests of one connection may share a context.
            _executor.set(None if pool is None else getattr(state, pool))
            request = DeadlineRequest(request.scope, request.receive)
            if request.scope["query_string"]:
                _apply_deadline(request, request.query_params.get("deadline_ms"))
            if not writes:
                return await handle(request)
            if state.concurrency_limit.n_blocked >= MAX_BLOCKED:
                raise StoreBusy(
                    f"{MAX_BLOCKED} writes wait for other transactions; nothing was written, try again in a moment"
                )
            with state.concurrency_limit.released_when_blocked(request.state.slot):
                return await handle(request)

        return handle_in_time


class DeadlineRequest(Request):
    """Applies the deadline of a body as soon as the body is parsed, before FastAPI validates it, so that the deadline
    also limits the time for keys and views."""

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            self._json = await parse_body(await self.body(), self.app.state.body_parsers)
            if isinstance(self._json, dict):
                _apply_deadline(self, self._json.get("deadline_ms"))
        return self._json


def _apply_deadline(request: Request, deadline_ms: object) -> None:
    """An invalid value is ignored here; the validation of the request reports it."""
    if deadline_ms is not None:
        with suppress(ValidationError):
            ms = ReadOptions.model_validate({"deadline_ms": deadline_ms}).deadline_ms
            assert ms is not None
            set_deadline(request, ms)


def _run_in_thread(endpoint: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    @wraps(endpoint)
    async def run(**arguments: Any) -> Any:
        loop, context = asyncio.get_running_loop(), copy_context()
        return await loop.run_in_executor(_executor.get(), partial(context.run, endpoint, **arguments))

    return run
