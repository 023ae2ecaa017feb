"""Logs: one JSON object a line, each with the id of its request. Keys and bodies are never logged."""

from __future__ import annotations

import logging
import re
import secrets
import sys
import time
from collections.abc import Iterable

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import GONE, problem

log = structlog.get_logger()
SANE = re.compile(r"[A-Za-z0-9._-]{1,64}")
SLOW_S = 1.0
FAILED = "nearfield failed to answer; the server's log has the reason"
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(level: str = "info") -> None:
    """To standard error, which belongs to the entry points alone."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def request_id_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The X-Request-ID that was sent, where it is a sane one, or a new one."""
    asked = next((value for name, value in headers if name == b"x-request-id"), b"").decode("latin-1")
    return asked if SANE.fullmatch(asked) else secrets.token_hex(8)


class RequestLog:
    """ASGI middleware: takes or makes the request's X-Request-ID, answers with it, and logs what failed or was slow."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = request_id_of(scope["headers"])
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started, status, begun = time.perf_counter(), GONE, False

        async def named(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        try:
            await self.app(scope, receive, named)
        except Exception as error:  # here and not further out, so that answer and traceback have the id
            log.error("request failed", method=scope["method"], path=scope["path"], exc_info=error)
            if begun:
                raise
            await problem(500, FAILED)(scope, receive, named)
        finally:
            seconds = time.perf_counter() - started
            counted = scope.get("state", {}).get("counted", False)  # elsewhere; a line each would be load of its own
            if (status >= 500 and not counted) or seconds > SLOW_S:
                route = getattr(scope.get("route"), "path", "none")
                figures = {"status": status, "ms": round(1000 * seconds, 1)}
                log.warning("request", method=scope["method"], route=route, **figures)
            else:
                log.debug("request", method=scope["method"], status=status, ms=round(1000 * seconds, 1))
            structlog.contextvars.unbind_contextvars("request_id")
