"""What libraries log comes as JSON like ours, and what a stop ends has no stack trace."""

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


def test_a_line_of_uvicorn_is_json_with_the_fields_of_ours():
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
def test_what_was_cancelled_with_the_server_is_one_line_without_a_trace(message, error):
    line = told(message, error)
    assert (line["event"], line["level"]) == ("unfinished work was cancelled when the server stopped", "warning")
    assert "exception" not in line


def test_the_loggers_of_uvicorn_write_through_ours(capsys):
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
