"""Timely: a route whose request is answered by its deadline, whatever its work waits for.

A thread cannot be cancelled. It goes on, and only its answer is given up: so there are few of them, those of `threads`,
and work that none of them has begun when it is given up is not begun at all. FastAPI's threads count as free as soon as
nobody waits for them.
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

from api.limits.body_parsing import parsed
from api.limits.concurrency_limit import MOST_HELD
from api.limits.deadline import set_deadline
from api.limits.executors import is_long_running, is_write
from api.messages.request_schemas import Fresh
from engine.errors import StoreBusy

_threads = ContextVar[Executor | None]("threads", default=None)  # None: the event loop's own


class DeadlineRoute(APIRoute):
    """Of a function that is no coroutine each call has a thread, of the writers where it `writes`.

    What writes may wait for another transaction, and has a place at the gate only until it seems to.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any):
        super().__init__(path, endpoint if iscoroutinefunction(endpoint) else _in_a_thread(endpoint), **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle, by_writers = super().get_route_handler(), is_write(self.endpoint)
        threads = "writers" if by_writers else "long_readers" if is_long_running(self.endpoint) else None

        async def handle_in_time(request: Request) -> Response:
            state = request.app.state
            _threads.set(
                None if threads is None else getattr(state, threads)
            )  # it may be in the context of the request before it
            hasty = DeadlineRequest(request.scope, request.receive)
            if request.scope["query_string"]:
                _hear(hasty, hasty.query_params.get("deadline_ms"))
            if not by_writers:
                return await handle(hasty)
            if state.gate.held >= MOST_HELD:
                raise StoreBusy(f"{MOST_HELD} writes wait already; nothing was written, ask again in a moment")
            with state.gate.giving_way(request.state.place):
                return await handle(hasty)

        return handle_in_time


class DeadlineRequest(Request):
    """Heeds the deadline in its body as soon as that is read: keys and views are waited for before it is checked."""

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            self._json = await parsed(await self.body(), self.app.state.body_parsers)
            if isinstance(self._json, dict):
                _hear(self, self._json.get("deadline_ms"))
        return self._json


def _hear(request: Request, given: object) -> None:
    """What is no deadline is refused later, with its name."""
    if given is not None:
        with suppress(ValidationError):
            ms = Fresh.model_validate({"deadline_ms": given}).deadline_ms
            assert ms is not None
            set_deadline(request, ms)


def _in_a_thread(work: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    @wraps(work)
    async def wait(**given: Any) -> Any:
        loop, context = asyncio.get_running_loop(), copy_context()
        return await loop.run_in_executor(_threads.get(), partial(context.run, work, **given))

    return wait
