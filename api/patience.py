"""Patience with slow clients: a request's headers have some seconds to arrive. Of bodies, see `bodies`."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADERS_S = 10.0


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which closes a connection whose headers do not come to an end in time."""

    headers_s = HEADERS_S
    _in_headers = False
    _cut: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_headers and self._cut is None:  # most requests come whole, and need no clock
            self._wait()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_headers = True

    def on_headers_complete(self) -> None:
        self._headers_came()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._done()
        super().connection_lost(exc)

    def _headers_came(self) -> None:
        self._in_headers = False
        self._done()

    def _wait(self) -> None:
        self._done()
        self._cut = self.loop.call_later(self.headers_s, self.transport.close)

    def _done(self) -> None:
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None
