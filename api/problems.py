"""Errors as RFC 9457 problem+json: type, title, status, detail, errors [{loc, msg}]."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from engine.errors import (
    BelowFloor,
    Conflict,
    CorruptGeneration,
    DeadlineExceeded,
    DeviceUnavailable,
    DiskFull,
    InputError,
    NearfieldError,
    NotEnoughData,
    NotFound,
    Problem,
    StoreBusy,
    StoreUnavailable,
)

STATUS: dict[type[NearfieldError], int] = {
    InputError: 422,
    NotFound: 404,
    Conflict: 409,
    NotEnoughData: 409,
    DeviceUnavailable: 409,
    BelowFloor: 409,
    CorruptGeneration: 503,
    DeadlineExceeded: 503,
    StoreUnavailable: 503,
    StoreBusy: 503,
    DiskFull: 507,
}
MAX_ERRORS = 100  # in one response
CLIENT_CLOSED = 499  # as nginx: the client disconnected before the response; only logs and metrics show it


def problem(
    status: int, detail: str, errors: Iterable[Problem] = (), headers: dict[str, str] | None = None
) -> Response:
    phrase = HTTPStatus(status).phrase
    body = {
        "type": f"urn:nearfield:problem:{phrase.lower().replace(' ', '-')}",
        "title": phrase,
        "status": status,
        "detail": detail,
        "errors": [{"loc": list(error.loc), "msg": error.msg} for error in errors],
    }
    retry = {"Retry-After": "1"} if status in (429, 503) else {}
    return Response(
        orjson.dumps(_encodable(body)), status, {**retry, **(headers or {})}, media_type="application/problem+json"
    )


def response_parts(response: Response) -> tuple[bytes, bytes]:
    """(status line and headers, body) as sent on the wire, for a connection that responds without the app. The caller
    may add headers and writes the empty line that ends them."""
    status = f"HTTP/1.1 {response.status_code} {HTTPStatus(response.status_code).phrase}\r\n".encode()
    return status + header_lines(response.raw_headers), bytes(response.body)


def header_lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The headers as sent on the wire, each with its line end."""
    return b"".join(b"%b: %b\r\n" % line for line in headers)


def install(app: FastAPI) -> None:
    """Turn every expected error of the app into a problem response. `logs.RequestLog` handles unexpected errors.

    The handlers are coroutines: FastAPI runs a plain function in a thread, and an overloaded server may have none free.
    """
    app.add_exception_handler(NearfieldError, handle_nearfield_error)
    app.add_exception_handler(RequestValidationError, _handle_validation_error)
    app.add_exception_handler(HTTPException, handle_http_exception)


async def handle_nearfield_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, NearfieldError)
    status = STATUS.get(type(error), 500)
    if isinstance(error, DiskFull):
        request.app.state.outage_log.disk_full(str(error))
        request.state.counted = True
    elif isinstance(error, StoreUnavailable) and error.is_down:
        request.app.state.outage_log.database_unavailable(str(error))
        request.state.counted = True
    return problem(status, str(error), error.problems if isinstance(error, InputError) else ())


async def _handle_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = [
        Problem(tuple(each["loc"]), plain_message(each["type"], each["msg"])) for each in error.errors()[:MAX_ERRORS]
    ]
    places = ", ".join(".".join(str(part) for part in each.loc) for each in problems[:3])
    return problem(422, f"the request is not valid at {places}", problems)


def plain_message(kind: str, message: str) -> str:
    """The message of an error of pydantic."""
    return "there is no such parameter" if kind == "extra_forbidden" else message.removeprefix("Value error, ")


async def handle_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(error.status_code, str(error.detail), headers=dict(error.headers or {}))


def _encodable(value: object) -> object:
    """JSON text has no lone surrogates; a message that quotes one shows it escaped."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {key: _encodable(each) for key, each in value.items()}
    return [_encodable(each) for each in value] if isinstance(value, list) else value
