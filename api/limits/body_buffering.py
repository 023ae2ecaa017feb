"""BodyBuffer: a request reaches the app when its body is complete, so that a slow client holds no concurrency slot.

The memory of all bodies of a process is bounded. The last quarter of it is reserved for small bodies, so that large
uploads do not reject them.
"""

from __future__ import annotations

import asyncio

from fastapi import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.monitoring.metrics import Metrics
from api.problems import problem

SMALL_BYTES = 65_536  # uvicorn buffers this much of a body before the app reads it
LARGE_BODY_SHARE = 0.75  # of the memory for bodies
CLOSE = {"Connection": "close"}


class BodyBuffer:
    """ASGI middleware: 413 for a body over the limit, with or without a Content-Length; 408 for a body that arrives too
    slowly; 503 when there is no memory for it. The body of a route that reads none has the same limits and is dropped.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, max_bytes: int, max_seconds: float, max_total_bytes: int):
        self.app, self.metrics = app, metrics
        self.max_bytes, self.max_seconds = max_bytes, max_seconds
        self.max_total_bytes = max(
            max_total_bytes, int(max_bytes / LARGE_BODY_SHARE) + 1
        )  # one largest body always fits
        self.total_bytes = 0
        self.too_large = f"a body has at most {max_bytes} bytes; send several requests"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not has_body(scope):
            await self.app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        n_bytes = int(declared) if declared.isdigit() else 0
        if n_bytes > self.max_bytes:
            await without_body(problem(413, self.too_large), scope)(scope, receive, send)
            return
        if not scope["state"].get("reads_body", True):
            n_bytes = 0
        if self.exceeds_memory(self.total_bytes + n_bytes, n_bytes):
            await without_body(self._no_memory(scope), scope)(scope, receive, send)
            return
        body = _Body(self, scope["state"].get("reads_body", True))
        try:
            error = await self._read(body, scope, receive)
            if error is not None:
                await error(scope, receive, send)
            elif not body.disconnected:
                await self.app(scope, _replay(body.take(), receive), send)
        finally:
            self.total_bytes -= body.n_buffered

    async def _read(self, body: _Body, scope: Scope, receive: Receive) -> Response | None:
        """Read the body; an error response, or None when the body is complete or the client disconnected."""
        try:
            async with asyncio.timeout(self.max_seconds):
                await body.read(receive)
        except TimeoutError:
            return problem(408, f"the body did not arrive within {self.max_seconds:g} s", headers=CLOSE)
        if body.n_bytes > self.max_bytes:
            return problem(413, self.too_large, headers=CLOSE)
        return self._no_memory(scope) if body.exceeds_memory else None

    def exceeds_memory(self, total_bytes: int, n_bytes: int) -> bool:
        """Whether `total_bytes` is too much when the current body has `n_bytes`."""
        share = 1.0 if n_bytes <= SMALL_BYTES else LARGE_BODY_SHARE
        return total_bytes > share * self.max_total_bytes

    def _no_memory(self, scope: Scope) -> Response:
        self.metrics.refused.labels("503").inc()
        scope["state"]["counted"] = True
        return problem(503, "the bodies of other requests take all the memory for bodies; try again in a second")


class _Body:
    """A body while it is being read."""

    def __init__(self, buffer: BodyBuffer, is_kept: bool):
        self._buffer, self._is_kept = buffer, is_kept
        self._bytes = bytearray()
        self.n_bytes = self.n_buffered = 0
        self.disconnected = self.exceeds_memory = False

    async def read(self, receive: Receive) -> None:
        """Read to the end, or until the body proves too large or there is no memory for it."""
        more = True
        while more and self.n_bytes <= self._buffer.max_bytes and not self.exceeds_memory:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.disconnected = True
                return
            part, more = message.get("body", b""), message.get("more_body", False)
            self.n_bytes += len(part)
            if self._is_kept:
                self._bytes += part
                self.n_buffered += len(part)
                self._buffer.total_bytes += len(part)
                self.exceeds_memory = self._buffer.exceeds_memory(self._buffer.total_bytes, self.n_bytes)

    def take(self) -> bytes:
        """The bytes; the buffer is empty afterwards."""
        body, self._bytes = bytes(self._bytes), bytearray()
        return body


def has_body(scope: Scope) -> bool:
    names = {name for name, value in scope["headers"] if value != b"0"}
    return b"content-length" in names or b"transfer-encoding" in names


def without_body(response: Response, scope: Scope) -> Response:
    """A response that is sent before the body is read. The rest of the body is dropped as it arrives.

    After `Expect: 100-continue` the body may or may not follow, so the connection closes.
    """
    if any(name == b"expect" for name, _ in scope["headers"]):
        response.headers["Connection"] = "close"
    return response


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that returns the body as one message, then the messages that follow it, such as a disconnect."""
    pending: bytes | None = body

    async def receive_body() -> Message:
        nonlocal pending
        if pending is None:
            return await receive()
        whole, pending = pending, None
        return {"type": "http.request", "body": whole, "more_body": False}

    return receive_body
