"""Slow clients: every wait for a client has a time limit, and request headers have a size limit.

`body_buffering` limits the time and size of bodies.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from api.problems import header_lines, problem, response_parts

HEADERS_S = 10.0
MAX_HEADER_BYTES = 65_536  # of a request's URL, headers and trailers together
SEPARATOR_BYTES = 4  # ": " and the end of the line
UNREAD_S = 10.0
MIN_READ_BYTES = 65_536  # of a long response, in that time


class HeadersTooLarge(Exception):
    """Stops the parser."""


class SlowClientProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with limits for slow clients.

    It closes a connection whose headers are not complete within `headers_s`, or whose unread body does not end in
    that time; a connection that is idle for longer than the keep-alive time-out; and a connection whose client reads
    less than MIN_READ_BYTES of a pending response within `unread_s`, because that request holds a concurrency slot.
    Headers of more than MAX_HEADER_BYTES are answered with 431.
    """

    headers_s = HEADERS_S
    unread_s = UNREAD_S
    _in_headers = _in_message = False
    _n_header_bytes = 0  # of the current request so far
    _parsed_something = False  # whether the parser called back during this read
    _n_unparsed = 0  # bytes read since the parser last called back, such as a line without an end
    _headers_rejected = False
    _close_timer: asyncio.TimerHandle | None = None
    _unread_timer: asyncio.TimerHandle | None = None
    _running_cycle: RequestResponseCycle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._start_close_timer()

    def data_received(self, data: bytes) -> None:
        if self._headers_rejected:
            return
        self._parsed_something = False
        super().data_received(data)
        self._n_unparsed = 0 if self._parsed_something else self._n_unparsed + len(data)
        if self._n_header_bytes + self._n_unparsed > MAX_HEADER_BYTES:
            self._reject_headers()
        if self._close_timer is None and (self._in_headers or not self._is_responding()):
            self._start_timer()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_headers = self._in_message = self._parsed_something = True
        self._n_header_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._count_header_bytes(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header after the body is a trailer. Trailers are ignored: they must not change the key or the request."""
        self._count_header_bytes(len(name) + len(value) + SEPARATOR_BYTES)
        if self._in_headers:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        self._parsed_something = True
        super().on_body(body)

    def on_headers_complete(self) -> None:
        self._headers_complete()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._message_complete()
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start_unread_timer()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_unread_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_close_timer()
        self._stop_unread_timer()
        if self._running_cycle is not None:  # uvicorn notifies only the newest request, which may wait behind this one
            self._running_cycle.disconnected = True
            self._running_cycle.message_event.set()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running_cycle = cycle
        super()._start_asgi_task(cycle, app)

    def _headers_complete(self) -> None:
        self._in_headers = False
        self._stop_close_timer()

    def _message_complete(self) -> None:
        self._in_message = False
        self._stop_close_timer()

    def _count_header_bytes(self, n_bytes: int) -> None:
        self._parsed_something = True
        self._n_header_bytes += n_bytes
        if self._n_header_bytes > MAX_HEADER_BYTES:
            raise HeadersTooLarge

    def send_400_response(self, msg: str) -> None:
        if self._n_header_bytes <= MAX_HEADER_BYTES:  # otherwise `data_received` sends 431
            super().send_400_response(msg)

    def _reject_headers(self) -> None:
        """Later bytes are dropped until the timer closes the connection: closing at once would lose the response."""
        if self._headers_rejected or self.transport.is_closing():
            return
        self._headers_rejected = True
        if not self._in_headers:  # trailers, or a chunk line without an end; that request waits for its body
            self.transport.close()
        elif self._is_responding():  # to the request before this one; its response is the last
            self.cycle.keep_alive = False
        else:
            headers = header_lines([*self.server_state.default_headers, (b"connection", b"close")])
            self.transport.write(b"".join((HEAD, headers, b"\r\n", BODY)))

    def _is_responding(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _start_timer(self) -> None:
        """Most requests arrive in one read and need no timer. Data after a response stops the keep-alive timer, so an
        idle connection gets a new one here."""
        if self._in_message:
            self._start_close_timer()
        elif self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _start_close_timer(self) -> None:
        self._stop_close_timer()
        self._close_timer = self.loop.call_later(self.headers_s, self.transport.close)

    def _stop_close_timer(self) -> None:
        if self._close_timer is not None:
            self._close_timer.cancel()
            self._close_timer = None

    def _start_unread_timer(self) -> None:
        n_unread = self.transport.get_write_buffer_size()
        self._unread_timer = self.loop.call_later(self.unread_s, self._check_unread, n_unread)

    def _check_unread(self, n_unread_before: int) -> None:
        if n_unread_before - self.transport.get_write_buffer_size() >= MIN_READ_BYTES:
            self._start_unread_timer()
        else:
            self.transport.abort()

    def _stop_unread_timer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None


HEAD, BODY = response_parts(
    problem(
        431, f"expected a URL and headers of at most {MAX_HEADER_BYTES:,} bytes, got more; send fewer or shorter ones"
    )
)
