"""Patience with slow clients: nothing is awaited of them without a clock, and no headers without an end. Of bodies that
are read, see `bodies`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from api.problems import header_lines, on_the_wire, problem

HEADERS_S = 10.0
MOST_HEADERS = 65_536  # bytes of a request's address, headers and trailers together
SEPARATORS = 4  # ": " and the end of the line
UNREAD_S = 10.0
LEAST_READ = 65_536  # bytes of a long answer, in that time


class TooLong(Exception):
    """Told to the parser, which ends there."""


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which closes a connection whose headers, or a body that nobody reads any more, do not come to
    an end in time, one that is left open for no reason, and one whose answers are not read: a request that waits to be
    answered on it holds a place. Headers of more than MOST_HEADERS are a 431.
    """

    headers_s = HEADERS_S
    unread_s = UNREAD_S
    _in_headers = _in_message = False
    _head = 0  # bytes of the address and headers so far
    _delivers = False  # whether the parser made anything of this read
    _unmade = 0  # bytes of reads that it made nothing of yet: a line without an end
    _is_told = False  # that headers are too long
    _cut: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _at_work: RequestResponseCycle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        if self._is_told:
            return
        self._delivers = False
        super().data_received(data)
        self._unmade = 0 if self._delivers else self._unmade + len(data)
        if self._head + self._unmade > MOST_HEADERS:
            self._refuse_headers()
        if self._cut is None and (self._in_headers or not self._answering()):
            self._set_clock()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_headers = self._in_message = self._delivers = True
        self._head = 0

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One that comes after the body is a trailer, and says nothing: what was asked, and by whom, stands."""
        self._count(len(name) + len(value) + SEPARATORS)
        if self._in_headers:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        self._delivers = True
        super().on_body(body)

    def on_headers_complete(self) -> None:
        self._headers_came()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._message_came()
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._watched()

    def connection_lost(self, exc: Exception | None) -> None:
        self._done()
        self._watched()
        if self._at_work is not None:  # uvicorn tells the newest, which may be behind it
            self._at_work.disconnected = True
            self._at_work.message_event.set()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._at_work = cycle
        super()._start_asgi_task(cycle, app)

    def _headers_came(self) -> None:
        self._in_headers = False
        self._done()

    def _message_came(self) -> None:
        self._in_message = False
        self._done()

    def _count(self, n_bytes: int) -> None:
        self._delivers = True
        self._head += n_bytes
        if self._head > MOST_HEADERS:
            raise TooLong

    def send_400_response(self, msg: str) -> None:
        if self._head <= MOST_HEADERS:  # else it is told when the read is done
            super().send_400_response(msg)

    def _refuse_headers(self) -> None:
        """What still comes is dropped until the clock ends it: closed at once, the answer would be lost."""
        if self._is_told or self.transport.is_closing():
            return
        self._is_told = True
        if not self._in_headers:  # trailers, or a part of a body without an end, of a request that waits for its end
            self.transport.close()
        elif self._answering():  # one before it, whose answer is the last
            self.cycle.keep_alive = False
        else:
            head = header_lines([*self.server_state.default_headers, (b"connection", b"close")])
            self.transport.write(b"".join((HEAD, head, b"\r\n", BODY)))

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _set_clock(self) -> None:
        """Most requests come whole, and need none; whatever came after an answer stopped that of the connection."""
        if self._in_message:
            self._wait()
        elif self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _wait(self) -> None:
        self._done()
        self._cut = self.loop.call_later(self.headers_s, self.transport.close)

    def _done(self) -> None:
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None

    def _watch(self) -> None:
        unread = self.transport.get_write_buffer_size()
        self._unread = self.loop.call_later(self.unread_s, self._look, unread)

    def _look(self, before: int) -> None:
        if before - self.transport.get_write_buffer_size() >= LEAST_READ:
            self._watch()
        else:
            self.transport.abort()

    def _watched(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None


HEAD, BODY = on_the_wire(problem(431, f"expected an address and headers of at most {MOST_HEADERS:,} bytes, got more"))
