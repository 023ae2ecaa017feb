"""Deadline: no read that said how long it may take is answered later than that as if it were in time."""

from __future__ import annotations

import time
from dataclasses import dataclass

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem
from engine.errors import NotInTime


@dataclass(frozen=True)
class Until:
    ms: int  # as asked
    at: float  # by time.perf_counter

    @property
    def passed(self) -> bool:
        return time.perf_counter() >= self.at

    def __str__(self) -> str:
        return f"the deadline of {self.ms} ms has passed; ask again, or with a larger deadline_ms"


def set_deadline(request: Request, ms: int) -> Until:
    """`ms` after the request arrived."""
    until = Until(ms, request.state.arrived + ms / 1000)
    request.state.until = until
    return until


def check_deadline(request: Request) -> None:
    """Before work that may take a while: NotInTime where the answer could only be late."""
    until: Until | None = getattr(request.state, "until", None)
    if until is not None and until.passed:
        raise NotInTime(str(until))


def left_s(request: Request, most_s: float) -> float:
    """How long something may be waited for: until the deadline of the request, if it has one, and at most `most_s`."""
    until: Until | None = getattr(request.state, "until", None)
    return most_s if until is None else min(most_s, max(until.at - time.perf_counter(), 0.0))


class Deadline:
    """ASGI middleware: 503 in place of an answer that is late."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        late = False

        async def in_time(message: Message) -> None:
            nonlocal late
            if message["type"] == "http.response.start" and message["status"] < 400:
                until: Until | None = scope.get("state", {}).get("until")
                if until is not None and until.passed:
                    late = True
                    await problem(503, str(until))(scope, receive, send)
            if not late:
                await send(message)

        await self.app(scope, receive, in_time)
