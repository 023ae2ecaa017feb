"""Patience with slow clients: a request's headers, and then its body, have some seconds to arrive."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADERS_S = 10.0
BODY_S = 30.0


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which closes a connection whose headers do not come to an end in time."""

    headers_s = HEADERS_S
    _cut: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._wait()

    def on_headers_complete(self) -> None:
        self._done()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._done()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._done()
        self._cut = self.loop.call_later(self.headers_s, self.transport.close)

    def _done(self) -> None:
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None


class BodyInTime:
    """ASGI middleware: 408 for a body that takes longer than `seconds` to arrive."""

    def __init__(self, app: ASGIApp, seconds: float = BODY_S):
        self.app, self.seconds = app, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        until, whole = asyncio.get_running_loop().time() + self.seconds, False

        async def in_time() -> Message:
            nonlocal whole
            if whole:  # what is left to hear is that the client went away
                return await receive()
            left = until - asyncio.get_running_loop().time()
            try:
                message = await asyncio.wait_for(receive(), max(left, 0.001))
            except TimeoutError:
                raise HTTPException(408, f"the body did not arrive within {self.seconds:g} s") from None
            whole = not message.get("more_body", False)
            return message

        await self.app(scope, in_time, send)
