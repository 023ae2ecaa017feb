"""Door: a request that the gate would turn away is refused by its connection, before any of it is work for the app.

To refuse through the app takes about as long as to recommend, on the same event loop. Here it is one write of an
answer that is made already; in overload this is what leaves the time to those who were let in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prometheus_client import Counter
from starlette.types import ASGIApp, Receive, Scope, Send

from api.limits.concurrency_limit import Gate
from api.limits.concurrency_middleware import FULL
from api.limits.slow_clients import PatientProtocol
from api.logs import request_id_of
from api.problems import header_lines, on_the_wire, problem

BEHIND = b"/v1/"  # paths of the door; whoever watches gets through, and of the others the app itself takes care


@dataclass(frozen=True, eq=False)
class Door:
    """What the connections of an app know of it, as `door` of its lifespan's state."""

    gate: Gate
    refused: Counter  # how often
    max_body_bytes: int  # more of a refused request is not read


class DoorProtocol(PatientProtocol):
    """Refuses at the door, keeping the connection; takes the place of a request that came whole, and leaves it."""

    _refusing = False  # from the headers of a refused request to its end
    _last = False  # the connection ends with it
    _held = False  # reads nothing until the client read its answers
    _dropped = 0  # bytes of the body

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._door: Door | None = self.app_state.get("door")
        if self._door is not None:
            self.app = Leaving(self.app, self._door.gate)

    def on_headers_complete(self) -> None:
        if self._last:  # of one that came after it, in the same read
            self._headers_came()
            self._refusing = True
        elif self._door is None or self._answering() or not self._behind() or not self._door.gate.full():
            super().on_headers_complete()
        else:
            self._headers_came()
            self._refuse(self._door)

    def on_body(self, body: bytes) -> None:
        if not self._refusing:
            super().on_body(body)
            if not self._answering():  # it was refused before it was read
                self._drop(body)
            return
        self._delivers = True
        self._drop(body)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._dropped = 0

    def _drop(self, body: bytes) -> None:
        self._dropped += len(body)
        if self._door is not None and self._dropped > self._door.max_body_bytes:
            self._last = True
            self.transport.close()

    def on_message_complete(self) -> None:
        if self._refusing:
            self._refusing = False
            self._message_came()
            if self._last:  # not before: to close what the client still writes to would lose it the answer
                self.transport.close()
            return
        super().on_message_complete()
        if self._door is not None and self._behind() and self._answering() and not self.pipeline:
            self.cycle.scope["state"]["place"] = self._door.gate.enter()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._held:
            self._held = False
            self.flow.resume_reading()

    def _behind(self) -> bool:
        return self.url.startswith(BEHIND) and not self.parser.should_upgrade()

    def _refuse(self, door: Door) -> None:
        """A body that is sent only when it is asked for may or may not follow: that connection is at its end."""
        door.refused.inc()
        self._refusing = True
        stays = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        stays = stays and not self.expect_100_continue
        head = header_lines(
            [*self.server_state.default_headers, (b"x-request-id", request_id_of(self.headers).encode())]
        )
        ends = b"\r\n" if stays else b"connection: close\r\n\r\n"
        self.transport.write(b"".join((HEAD, head, ends, b"" if self.parser.get_method() == b"HEAD" else BODY)))
        self._last = not stays
        if self.expect_100_continue:
            self.transport.close()
        self.on_response_complete()
        if self.flow.write_paused:
            self._held = True
            self.flow.pause_reading()


class Leaving:
    """ASGI: leaves the place that the connection took, however the request ends."""

    def __init__(self, app: ASGIApp, gate: Gate):
        self.app, self.gate = app, gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        finally:
            place = scope.get("state", {}).get("place")
            if place is not None:
                self.gate.leave(place)


HEAD, BODY = on_the_wire(problem(429, FULL))
