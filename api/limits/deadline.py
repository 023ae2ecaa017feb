"""Deadlines: every request is answered before its deadline; a response that is ready later is replaced by 503.

A read sets its deadline with `deadline_ms`. A request without it, and every write, has DEFAULT_DEADLINE_S.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem
from engine.deadline import set_work_deadline
from engine.errors import DeadlineExceeded

DEFAULT_DEADLINE_S = 30.0
GRACE_S = 0.1  # work that checks the deadline itself gets this long to fail with a more precise message


@dataclass(frozen=True)
class RequestDeadline:
    ms: int | None  # as requested; None: the default
    at: float  # by time.perf_counter

    @property
    def passed(self) -> bool:
        return time.perf_counter() >= self.at

    def __str__(self) -> str:
        if self.ms is None:
            return (
                f"no response within {DEFAULT_DEADLINE_S:g} s; the request may have been carried out, or may still be"
            )
        return f"the deadline of {self.ms} ms has passed; try again, or with a larger deadline_ms"


def set_deadline(request: Request, ms: int) -> None:
    """`ms` milliseconds after the request arrived. Call on the event loop."""
    deadline = RequestDeadline(ms, request.state.arrived + ms / 1000)
    request.state.deadline = deadline
    set_work_deadline(deadline.at)
    request.state.timer.reschedule(asyncio.get_running_loop().time() + deadline.at - time.perf_counter() + GRACE_S)


def check_deadline(request: Request) -> None:
    """DeadlineExceeded after the deadline. Call before work that may take long."""
    deadline: RequestDeadline = request.state.deadline
    if deadline.passed:
        raise DeadlineExceeded(str(deadline))


def remaining_s(request: Request, max_s: float) -> float:
    """Seconds until the deadline of the request, at most `max_s`."""
    deadline: RequestDeadline = request.state.deadline
    return min(max_s, max(deadline.at - time.perf_counter(), 0.0))


class DeadlineMiddleware:
    """ASGI middleware: 503 in place of a successful response that is late or does not come."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state, is_late = scope["state"], False
        state["deadline"] = RequestDeadline(None, time.perf_counter() + DEFAULT_DEADLINE_S)
        set_work_deadline(state["deadline"].at)

        async def send_in_time(message: Message) -> None:
            nonlocal is_late
            if message["type"] == "http.response.start":
                timer.reschedule(None)
                if message["status"] < 400 and state["deadline"].passed:
                    is_late = True
                    await problem(503, str(state["deadline"]))(scope, receive, send)
            if not is_late:
                await send(message)

        try:
            async with asyncio.timeout(DEFAULT_DEADLINE_S + GRACE_S) as timer:
                state["timer"] = timer
                await self.app(scope, receive, send_in_time)
        except TimeoutError:
            if not timer.expired():
                raise
            await problem(503, str(state["deadline"]))(scope, receive, send)
