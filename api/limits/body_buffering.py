"""WholeBody: a request is worked on once its body is there, so that a slow client holds no place of another.

What all bodies of a process take is bounded. The last quarter is for small ones: who sends much keeps nobody out.
"""

from __future__ import annotations

import asyncio

from fastapi import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.monitoring.metrics import Metrics
from api.problems import problem

SMALL = 65_536  # bytes, which a connection reads before anybody asks for them
FOR_LARGE = 0.75  # of what bodies may take
CLOSES = {"Connection": "close"}


class WholeBody:
    """ASGI middleware: 413 for a body over the limit, whether its headers say so or not; 408 for one too slow; 503 for
    one that there is no room for. One that no route reads has the same limits, and is not kept."""

    def __init__(self, app: ASGIApp, metrics: Metrics, max_bytes: int, seconds: float, most_held: int):
        self.app, self.metrics = app, metrics
        self.max_bytes, self.seconds = max_bytes, seconds
        self.most_held = max(most_held, int(max_bytes / FOR_LARGE) + 1)  # one as large as may be is no matter of luck
        self.held = 0  # bytes
        self.too_large = f"a body has at most {max_bytes} bytes; send several requests"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not has_body(scope):
            await self.app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        n_bytes = int(declared) if declared.isdigit() else 0
        if n_bytes > self.max_bytes:
            await unread(problem(413, self.too_large), scope)(scope, receive, send)
            return
        if not scope["state"].get("reads_body", True):
            n_bytes = 0
        if self._is_full(self.held + n_bytes, n_bytes):
            await unread(self._no_room(scope), scope)(scope, receive, send)
            return
        body = _Body(self, scope["state"].get("reads_body", True))
        try:
            answer = await self._answer(body, scope, receive)
            if answer is not None:
                await answer(scope, receive, send)
            elif not body.gone:
                await self.app(scope, _once(body.taken(), receive), send)
        finally:
            self.held -= body.n_held

    async def _answer(self, body: _Body, scope: Scope, receive: Receive) -> Response | None:
        """Once the body was read as far as it may be; None where it is there, or its client went away."""
        try:
            async with asyncio.timeout(self.seconds):
                await body.read(receive)
        except TimeoutError:
            return problem(408, f"the body did not arrive within {self.seconds:g} s", headers=CLOSES)
        if body.size > self.max_bytes:
            return problem(413, self.too_large, headers=CLOSES)
        return self._no_room(scope) if body.crowded else None

    def _is_full(self, held: int, n_bytes: int) -> bool:
        """Whether that is too much to hold for a body of so many bytes."""
        return held > (self.most_held if n_bytes <= SMALL else FOR_LARGE * self.most_held)

    def _no_room(self, scope: Scope) -> Response:
        self.metrics.refused.labels("503").inc()
        scope["state"]["counted"] = True
        return problem(503, "the bodies of other requests take all the room there is; ask again in a second")


class _Body:
    """One that is being read."""

    def __init__(self, of: WholeBody, is_kept: bool):
        self._of, self._is_kept = of, is_kept
        self._bytes = bytearray()
        self.size = self.n_held = 0
        self.gone = self.crowded = False

    async def read(self, receive: Receive) -> None:
        """All of it, or as much as shows that it is too large, or that there is no room for it."""
        more = True
        while more and self.size <= self._of.max_bytes and not self.crowded:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.gone = True
                return
            part, more = message.get("body", b""), message.get("more_body", False)
            self.size += len(part)
            if self._is_kept:
                self._bytes += part
                self.n_held += len(part)
                self._of.held += len(part)
                self.crowded = self._of._is_full(self._of.held, self.size)

    def taken(self) -> bytes:
        made, self._bytes = bytes(self._bytes), bytearray()
        return made


def has_body(scope: Scope) -> bool:
    names = {name for name, value in scope["headers"] if value != b"0"}
    return b"content-length" in names or b"transfer-encoding" in names


def unread(answer: Response, scope: Scope) -> Response:
    """One that is given before the body is read. It may or may not follow where it is sent only when it is asked for:
    that connection is at its end. The rest of another is dropped as it comes."""
    if any(name == b"expect" for name, _ in scope["headers"]):
        answer.headers["Connection"] = "close"
    return answer


def _once(body: bytes, receive: Receive) -> Receive:
    """The body as one message; what comes after it is that the client went away."""
    kept: bytes | None = body

    async def whole() -> Message:
        nonlocal kept
        if kept is None:
            return await receive()
        told, kept = kept, None
        return {"type": "http.request", "body": told, "more_body": False}

    return whole
