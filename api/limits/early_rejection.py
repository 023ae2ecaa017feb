"""Early rejection: the connection rejects a request over the concurrency limit before the app does any work for it.

A rejection inside the app costs about as much as a recommendation, on the same event loop. Here it is one write of a
response that was built at import, which leaves the time to the accepted requests. Measured with bench_overload.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prometheus_client import Counter
from starlette.types import ASGIApp, Receive, Scope, Send

from api.limits.concurrency_limit import ConcurrencyLimit
from api.limits.concurrency_middleware import OVERLOADED
from api.limits.slow_clients import SlowClientProtocol
from api.logs import request_id_of
from api.problems import header_lines, problem, response_parts

LIMITED_PATHS = b"/v1/"  # health checks and metrics are never rejected; ConcurrencyMiddleware handles other paths


@dataclass(frozen=True, eq=False)
class EarlyRejection:
    """What a connection needs to reject requests; `early_rejection` of the app's lifespan state."""

    concurrency_limit: ConcurrencyLimit
    rejections: Counter
    max_body_bytes: int  # of a rejected request; the connection closes after more


class EarlyRejectionProtocol(SlowClientProtocol):
    """uvicorn's HTTP protocol with early rejection; a rejected request leaves the connection open.

    It acquires the slot of a request that arrived completely in the first read, and `SlotRelease` releases it.
    """

    _is_rejecting = False  # from the end of a rejected request's headers to the end of its body
    _closes_after = False  # the connection closes after the rejected request
    _reading_paused = False  # until the client has read the responses
    _n_dropped = 0  # bytes of the rejected body

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._rejection: EarlyRejection | None = self.app_state.get("early_rejection")
        if self._rejection is not None:
            self.app = SlotRelease(self.app, self._rejection.concurrency_limit)

    def on_headers_complete(self) -> None:
        if self._closes_after:  # a pipelined request after the last one, in the same read
            self._headers_complete()
            self._is_rejecting = True
        elif (
            self._rejection is None
            or self._is_responding()
            or not self._is_limited()
            or not self._rejection.concurrency_limit.is_full()
        ):
            super().on_headers_complete()
        else:
            self._headers_complete()
            self._reject(self._rejection)

    def on_body(self, body: bytes) -> None:
        if not self._is_rejecting:
            super().on_body(body)
            if not self._is_responding():  # the app responded without reading the body
                self._drop(body)
            return
        self._parsed_something = True
        self._drop(body)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._n_dropped = 0

    def _drop(self, body: bytes) -> None:
        self._n_dropped += len(body)
        if self._rejection is not None and self._n_dropped > self._rejection.max_body_bytes:
            self._closes_after = True
            self.transport.close()

    def on_message_complete(self) -> None:
        if self._is_rejecting:
            self._is_rejecting = False
            self._message_complete()
            if self._closes_after:  # not earlier: closing while the client still writes loses the response
                self.transport.close()
            return
        super().on_message_complete()
        if self._rejection is not None and self._is_limited() and self._is_responding() and not self.pipeline:
            self.cycle.scope["state"]["slot"] = self._rejection.concurrency_limit.acquire()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._reading_paused:
            self._reading_paused = False
            self.flow.resume_reading()

    def _is_limited(self) -> bool:
        return self.url.startswith(LIMITED_PATHS) and not self.parser.should_upgrade()

    def _reject(self, rejection: EarlyRejection) -> None:
        """Write the response. After `Expect: 100-continue` the body may or may not follow, so the connection closes."""
        rejection.rejections.inc()
        self._is_rejecting = True
        stays_open = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        stays_open = stays_open and not self.expect_100_continue
        headers = header_lines(
            [*self.server_state.default_headers, (b"x-request-id", request_id_of(self.headers).encode())]
        )
        headers_end = b"\r\n" if stays_open else b"connection: close\r\n\r\n"
        body = b"" if self.parser.get_method() == b"HEAD" else BODY
        self.transport.write(b"".join((HEAD, headers, headers_end, body)))
        self._closes_after = not stays_open
        if self.expect_100_continue:
            self.transport.close()
        self.on_response_complete()
        if self.flow.write_paused:
            self._reading_paused = True
            self.flow.pause_reading()


class SlotRelease:
    """ASGI middleware: releases the slot that the connection acquired, however the request ends."""

    def __init__(self, app: ASGIApp, concurrency_limit: ConcurrencyLimit):
        self.app, self.concurrency_limit = app, concurrency_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        finally:
            slot = scope.get("state", {}).get("slot")
            if slot is not None:
                self.concurrency_limit.release(slot)


HEAD, BODY = response_parts(problem(429, OVERLOADED))
