"""Patience with slow clients: a request's headers have some seconds to arrive. Of bodies, see `bodies`."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADERS_S = 10.0


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
