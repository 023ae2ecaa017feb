"""Parsing of JSON bodies: limits are checked before any object is created, and large bodies do not block the event
loop.

`json.loads` holds the GIL until it is done: 14 MB of distinct names stop the event loop for more than a second, even
from another thread. A large text is therefore parsed in pieces, with a turn for other threads after each piece. numpy
finds the places to cut, without the GIL.
"""

from __future__ import annotations

import asyncio
import json
import re
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from fastapi import HTTPException

from engine.errors import NearfieldError

MAX_DEPTH = 100
MAX_NUMBER = 1000  # characters; parsing an integer takes time quadratic in its digits
MAX_CONTAINERS = 500_000  # lists and objects; `[]` takes 50 times its two bytes in memory
MAX_NAMES = 1_000_000
SMALL = 65_536  # bytes; parsed on the event loop, in a few milliseconds at most
PIECE = 32_768  # bytes parsed at once
CHUNK = 2**18  # bytes that numpy classifies at once
QUOTE, OPEN, CLOSE, COMMA, COLON, NUMBER = 1, 2, 3, 4, 5, 6
KINDS = np.zeros(256, np.uint8)
NUMBERS = b"0123456789+-.eE"
for _kind, _bytes in {QUOTE: b'"', OPEN: b"[{", CLOSE: b"]}", COMMA: b",", COLON: b":", NUMBER: NUMBERS}.items():
    KINDS[list(_bytes)] = _kind
DEPTH_CHANGE = np.zeros(256, np.int8)
DEPTH_CHANGE[OPEN], DEPTH_CHANGE[CLOSE] = 1, -1
SPACES = b" \t\n\r"
LONG_NUMBER = re.compile(rb"[0-9+\-.eE]{2}")


class BodyTooComplex(NearfieldError):
    """A text that nests too deep, or has too many lists, objects, names or digits."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


async def parse_body(body: bytes, threads: Executor) -> Any:
    """The value of a JSON text. JSONDecodeError for invalid JSON, HTTPException 413 or 422 beyond a limit."""
    try:
        if len(body) <= SMALL:
            return _parse_small(body)
        return await asyncio.get_running_loop().run_in_executor(threads, parse, body)
    except BodyTooComplex as error:
        raise HTTPException(error.status, str(error)) from None


def _parse_small(body: bytes) -> Any:
    """Runs `structure` only if a limit may be exceeded: a number over MAX_NUMBER covers two adjacent sampled bytes."""
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH or LONG_NUMBER.search(body[:: MAX_NUMBER // 2]):
        structure(body)
    return json.loads(body)


def parse(body: bytes) -> Any:
    """As `json.loads`, within the limits, with a turn for other threads between the pieces."""
    encoding = json.detect_encoding(body)
    if encoding != "utf-8":
        body = body.decode(encoding, "surrogatepass").encode("utf-8", "surrogatepass")
    parts = structure(body)
    return PiecewiseParser(body, parts.kinds, parts.depths).value(0, len(body))


@dataclass(frozen=True, eq=False)
class Structure:
    kinds: npt.NDArray[np.uint8]  # of each byte: QUOTE to NUMBER, or 0; 0 inside strings
    depths: npt.NDArray[np.int8]  # nesting depth after each byte


def structure(text: bytes) -> Structure:
    """The structure of a text; BodyTooComplex as soon as a limit is exceeded."""
    kinds, depths = np.zeros(len(text), np.uint8), np.zeros(len(text), np.int8)
    scanner = _Scanner()
    for start in range(0, len(text), CHUNK):
        stop = min(start + CHUNK, len(text))
        scanner.scan(text[start:stop], kinds[start:stop], depths[start:stop])
    return Structure(kinds, depths)


class _Scanner:
    """Classifies the bytes of a text chunk by chunk; its attributes are the state between two chunks."""

    def __init__(self) -> None:
        self.in_string = np.uint8(0)  # 0 or 1
        self.escapes = False  # the first byte of the next chunk is escaped
        self.depth = self.n_containers = self.n_names = 0
        self.number_length = 0  # so far, of a number at the end of the chunk

    def scan(self, text: bytes, kinds: npt.NDArray[np.uint8], depths: npt.NDArray[np.int8]) -> None:
        KINDS.take(np.frombuffer(self._without_escapes(text), np.uint8), out=kinds)
        inside = np.cumsum(kinds == QUOTE, dtype=np.uint8)  # odd inside strings; the opening quote counts as inside
        inside += self.in_string
        inside &= 1
        self.in_string = inside[-1]
        kinds[inside.view(bool)] = 0
        self.n_containers += int(np.count_nonzero(kinds == OPEN))
        self.n_names += int(np.count_nonzero(kinds == COLON))
        if self.n_containers > MAX_CONTAINERS:
            raise BodyTooComplex(413, f"a body has at most {MAX_CONTAINERS:,} lists and objects; send several requests")
        if self.n_names > MAX_NAMES:
            raise BodyTooComplex(413, f"the objects of a body have at most {MAX_NAMES:,} names; send several requests")
        self._scan_depths(kinds, depths)
        self._scan_numbers(kinds)

    def _without_escapes(self, text: bytes) -> bytes:
        """The text with each escape sequence replaced by other characters; its length stays."""
        if self.escapes:
            text = b"_" + text[1:]
        self.escapes = False
        if b"\\" in text:
            text = text.replace(b"\\\\", b"__")
            self.escapes = text.endswith(b"\\")
            text = text.replace(b'\\"', b"__")
        return text

    def _scan_depths(self, kinds: npt.NDArray[np.uint8], depths: npt.NDArray[np.int8]) -> None:
        deep = np.cumsum(DEPTH_CHANGE.take(kinds), dtype=np.int32)
        deep += self.depth
        if int(deep.max()) > MAX_DEPTH:
            raise BodyTooComplex(422, f"expected JSON that nests at most {MAX_DEPTH} deep, got more")
        self.depth = int(deep[-1])
        np.maximum(deep, -1, out=deep)  # negative: more brackets closed than opened; `json.loads` reports it
        depths[:] = deep

    def _scan_numbers(self, kinds: npt.NDArray[np.uint8]) -> None:
        others = np.flatnonzero(kinds != NUMBER)
        edges = np.concatenate([[-1 - self.number_length], others, [len(kinds)]])
        if int(np.diff(edges).max()) - 1 > MAX_NUMBER:
            raise BodyTooComplex(422, f"expected numbers of at most {MAX_NUMBER} characters, got a longer one")
        self.number_length = len(kinds) - 1 - int(edges[-2])


@dataclass(frozen=True, eq=False)
class PiecewiseParser:
    """Parses a text piece by piece. Errors equal the errors of `json.loads`, with positions in bytes."""

    text: bytes
    kinds: npt.NDArray[np.uint8]
    depths: npt.NDArray[np.int8]

    def value(self, start: int, stop: int) -> Any:
        """The one JSON value between `start` and `stop`, with optional spaces around it."""
        first = self._skip_spaces(start, stop)
        if stop - first <= PIECE or self.kinds[first] != OPEN:
            return self._loads(first, stop)
        last = first + len(self.text[first:stop].rstrip(SPACES)) - 1
        is_list = self.text[first] == ord("[")
        closed = last > first and self.kinds[last] == CLOSE and self.text[last] == ord("]" if is_list else "}")
        value = (
            self._list(first, last if closed else stop) if is_list else self._object(first, last if closed else stop)
        )
        if not closed:
            raise json.JSONDecodeError("Expecting ',' delimiter", "", stop)
        return value

    def _list(self, first: int, last: int) -> list[Any]:
        values: list[Any] = []
        for start, stop, is_large in self._pieces(first, last):
            values += [self.value(start, stop)] if is_large else self._loads(start, stop, b"[", b"]")
        return values

    def _object(self, first: int, last: int) -> dict[str, Any]:
        members: dict[str, Any] = {}
        for start, stop, is_large in self._pieces(first, last):
            colon = self._colon(start, stop, int(self.depths[first])) if is_large else None
            if colon is None:
                members |= self._loads(start, stop, b"{", b"}")
            else:
                name = self._loads(start, colon)
                if not isinstance(name, str):
                    raise json.JSONDecodeError("Expecting property name enclosed in double quotes", "", start)
                members[name] = self.value(colon + 1, stop)
        return members

    def _pieces(self, first: int, last: int) -> list[tuple[int, int, bool]]:
        """(start, stop, is_large) of runs of members between two brackets: as many as fit into PIECE bytes, or one that
        is larger."""
        within = slice(first + 1, last)
        is_comma = (self.kinds[within] == COMMA) & (self.depths[within] == self.depths[first])
        ends = np.append(np.flatnonzero(is_comma) + first + 1, last)
        pieces, start, at = list[tuple[int, int, bool]](), first + 1, 0
        while at < len(ends):
            n_fitting = int(np.searchsorted(ends, start + PIECE, side="right"))  # members up to this one fit
            is_large = n_fitting <= at
            at = at + 1 if is_large else n_fitting
            stop = int(ends[at - 1])
            if not self.text[start:stop].strip(SPACES) and len(ends) > 1:
                raise json.JSONDecodeError("Expecting value", "", stop)
            pieces.append((start, stop, is_large))
            start = stop + 1
        return pieces

    def _colon(self, start: int, stop: int, depth: int) -> int | None:
        is_colon = (self.kinds[start:stop] == COLON) & (self.depths[start:stop] == depth)
        at = int(is_colon.argmax())
        return start + at if is_colon[at] else None

    def _loads(self, start: int, stop: int, before: bytes = b"", after: bytes = b"") -> Any:
        try:
            return json.loads(before + self.text[start:stop] + after)
        except json.JSONDecodeError as error:
            raise json.JSONDecodeError(error.msg, "", max(start + error.pos - len(before), 0)) from None

    def _skip_spaces(self, start: int, stop: int) -> int:
        return min(stop - len(self.text[start:stop].lstrip(SPACES)), len(self.text) - 1)
