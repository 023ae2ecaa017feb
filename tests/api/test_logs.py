"""Log records of libraries are JSON like ours; work cancelled at shutdown has no traceback."""

import asyncio
import json
import logging
import sys

import pytest

from api.logs import JsonFormatter, capture_library_logs


def told(message, error=None):
    info = None
    if error is not None:
        try:
            raise error
        except BaseException:
            info = sys.exc_info()
    record = logging.LogRecord("uvicorn.error", logging.ERROR, "", 0, message, (), info)
    return json.loads(JsonFormatter().format(record))


def test_a_log_line_of_uvicorn_is_json_with_our_fields():
    line = told("Invalid HTTP request received.")
    assert line | {"timestamp": ""} == {
        "logger": "uvicorn.error",
        "event": "Invalid HTTP request received.",
        "level": "error",
        "timestamp": "",
    }
    assert line["timestamp"].endswith("Z")
    assert "ValueError: no" in told("Exception in ASGI application\n", ValueError("no"))["exception"]


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("Exception in ASGI application\n", asyncio.CancelledError()),
        ("Traceback (most recent call last):\n  File x\nasyncio.exceptions.CancelledError\n", None),
    ],
)
def test_work_cancelled_at_shutdown_is_one_log_line_without_a_traceback(message, error):
    line = told(message, error)
    assert (line["event"], line["level"]) == ("unfinished work was cancelled when the server stopped", "warning")
    assert "exception" not in line


def test_the_loggers_of_uvicorn_use_our_handler(capsys):
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        capture_library_logs()
        logging.getLogger("uvicorn.error").error("gone")
        [line] = capsys.readouterr().err.splitlines()
        assert json.loads(line)["event"] == "gone"
    finally:
        root.handlers[:] = before
        root.setLevel(level)
