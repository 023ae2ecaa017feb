"""Deadline: every request is answered by its own, and none later than that as if it were in time.

A read may say how long it may take. Whoever does not say, and every write, has LONGEST_S.
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

LONGEST_S = 30.0
GRACE_S = 0.1  # for work that ends at the deadline by itself, which knows better what was waited for


@dataclass(frozen=True)
class RequestDeadline:
    ms: int | None  # as asked
    at: float  # by time.perf_counter

    @property
    def passed(self) -> bool:
        return time.perf_counter() >= self.at

    def __str__(self) -> str:
        if self.ms is None:
            return f"no answer within {LONGEST_S:g} s; what was asked may or may not have been done, or be done yet"
        return f"the deadline of {self.ms} ms has passed; ask again, or with a larger deadline_ms"


def set_deadline(request: Request, ms: int) -> None:
    """`ms` after the request arrived. For the event loop."""
    deadline = RequestDeadline(ms, request.state.arrived + ms / 1000)
    request.state.deadline = deadline
    set_work_deadline(deadline.at)
    request.state.timer.reschedule(asyncio.get_running_loop().time() + deadline.at - time.perf_counter() + GRACE_S)


def check_deadline(request: Request) -> None:
    """Before work that may take a while: DeadlineExceeded where the answer could only be late."""
    deadline: RequestDeadline = request.state.deadline
    if deadline.passed:
        raise DeadlineExceeded(str(deadline))


def left_s(request: Request, most_s: float) -> float:
    """How long something may be waited for: until the deadline of the request, and at most `most_s`."""
    deadline: RequestDeadline = request.state.deadline
    return min(most_s, max(deadline.at - time.perf_counter(), 0.0))


class Deadline:
    """ASGI middleware: 503 in place of an answer that is late, or does not come."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state, late = scope["state"], False
        state["deadline"] = RequestDeadline(None, time.perf_counter() + LONGEST_S)
        set_work_deadline(state["deadline"].at)

        async def in_time(message: Message) -> None:
            nonlocal late
            if message["type"] == "http.response.start":
                timer.reschedule(None)
                if message["status"] < 400 and state["deadline"].passed:
                    late = True
                    await problem(503, str(state["deadline"]))(scope, receive, send)
            if not late:
                await send(message)

        try:
            async with asyncio.timeout(LONGEST_S + GRACE_S) as timer:
                state["timer"] = timer
                await self.app(scope, receive, in_time)
        except TimeoutError:
            if not timer.expired():
                raise
            await problem(503, str(state["deadline"]))(scope, receive, send)
