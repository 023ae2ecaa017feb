"""Parsing: the JSON of a body, bounded before anything is made of it, and a large one beside the event loop.

Python parses JSON in one go, in which no other thread works: 14 MB of distinct names stop an event loop for more than a
second, from another thread too. So a large text is parsed in pieces, between which the others have their turn. Where it
may be cut is found by numpy, which leaves them theirs meanwhile.
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
MAX_NUMBER = 1000  # characters; to read an integer takes the square of its digits
MAX_CONTAINERS = 500_000  # lists and objects: each takes 50 times the two bytes that it may be written with
MAX_NAMES = 1_000_000
SMALL = 65_536  # bytes; parsed at once, in a few milliseconds at most
PIECE = 32_768
CHUNK = 2**18  # bytes looked at in one go
QUOTE, OPEN, CLOSE, COMMA, COLON, NUMBER = 1, 2, 3, 4, 5, 6
KINDS = np.zeros(256, np.uint8)
NUMBERS = b"0123456789+-.eE"
for _kind, _bytes in {QUOTE: b'"', OPEN: b"[{", CLOSE: b"]}", COMMA: b",", COLON: b":", NUMBER: NUMBERS}.items():
    KINDS[list(_bytes)] = _kind
STEPS = np.zeros(256, np.int8)
STEPS[OPEN], STEPS[CLOSE] = 1, -1
SPACES = b" \t\n\r"
LONG_NUMBER = re.compile(rb"[0-9+\-.eE]{2}")


class TooMuch(NearfieldError):
    """A text that nests too deep, or has too much of something."""

    def __init__(self, status: int, what: str):
        super().__init__(what)
        self.status = status


async def parse_body(body: bytes, threads: Executor) -> Any:
    """The value of a JSON text; JSONDecodeError, or HTTPException 413 or 422 where it is beyond a bound."""
    try:
        if len(body) <= SMALL:
            return _small(body)
        return await asyncio.get_running_loop().run_in_executor(threads, parse, body)
    except TooMuch as error:
        raise HTTPException(error.status, str(error)) from None


def _small(body: bytes) -> Any:
    """A number beyond the bound is met at two places side by side of those looked at."""
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH or LONG_NUMBER.search(body[:: MAX_NUMBER // 2]):
        structure(body)
    return json.loads(body)


def parse(body: bytes) -> Any:
    """As `json.loads`, within the bounds; other threads have their turn in between."""
    encoding = json.detect_encoding(body)
    if encoding != "utf-8":
        body = body.decode(encoding, "surrogatepass").encode("utf-8", "surrogatepass")
    found = structure(body)
    return Pieces(body, found.kinds, found.depths).value(0, len(body))


@dataclass(frozen=True, eq=False)
class Structure:
    kinds: npt.NDArray[np.uint8]  # of each byte; 0 of most, and of all that is within a string
    depths: npt.NDArray[np.int8]  # after it


def structure(text: bytes) -> Structure:
    """Of a text within the bounds; TooMuch of another, as far as it had to be read."""
    kinds, depths = np.zeros(len(text), np.uint8), np.zeros(len(text), np.int8)
    look = _Look()
    for start in range(0, len(text), CHUNK):
        stop = min(start + CHUNK, len(text))
        look.over(text[start:stop], kinds[start:stop], depths[start:stop])
    return Structure(kinds, depths)


class _Look:
    """What is carried from one chunk to the next."""

    def __init__(self) -> None:
        self.in_string = np.uint8(0)
        self.escapes = False  # the first byte of the next chunk is escaped
        self.depth = self.containers = self.names = self.run = 0

    def over(self, text: bytes, kinds: npt.NDArray[np.uint8], depths: npt.NDArray[np.int8]) -> None:
        KINDS.take(np.frombuffer(self._without_escapes(text), np.uint8), out=kinds)
        inside = np.cumsum(kinds == QUOTE, dtype=np.uint8)  # its last bit; the quote that opens is inside
        inside += self.in_string
        inside &= 1
        self.in_string = inside[-1]
        kinds[inside.view(bool)] = 0
        opened = int(np.count_nonzero(kinds == OPEN))
        self.containers += opened
        self.names += int(np.count_nonzero(kinds == COLON))
        if self.containers > MAX_CONTAINERS:
            raise TooMuch(413, f"a body has at most {MAX_CONTAINERS:,} lists and objects; send several requests")
        if self.names > MAX_NAMES:
            raise TooMuch(413, f"the objects of a body have at most {MAX_NAMES:,} names; send several requests")
        self._deepen(kinds, depths)
        self._measure(kinds)

    def _without_escapes(self, text: bytes) -> bytes:
        """The text with another character in place of each that is escaped; as long as it was."""
        if self.escapes:
            text = b"_" + text[1:]
        self.escapes = False
        if b"\\" in text:
            text = text.replace(b"\\\\", b"__")
            self.escapes = text.endswith(b"\\")
            text = text.replace(b'\\"', b"__")
        return text

    def _deepen(self, kinds: npt.NDArray[np.uint8], depths: npt.NDArray[np.int8]) -> None:
        deep = np.cumsum(STEPS.take(kinds), dtype=np.int32)
        deep += self.depth
        if int(deep.max()) > MAX_DEPTH:
            raise TooMuch(422, f"expected JSON that nests at most {MAX_DEPTH} deep, got more")
        self.depth = int(deep[-1])
        np.maximum(deep, -1, out=deep)  # below: more was closed than opened
        depths[:] = deep

    def _measure(self, kinds: npt.NDArray[np.uint8]) -> None:
        others = np.flatnonzero(kinds != NUMBER)
        edges = np.concatenate([[-1 - self.run], others, [len(kinds)]])
        if int(np.diff(edges).max()) - 1 > MAX_NUMBER:
            raise TooMuch(422, f"expected numbers of at most {MAX_NUMBER} characters, got a longer one")
        self.run = len(kinds) - 1 - int(edges[-2])


@dataclass(frozen=True, eq=False)
class Pieces:
    """A text parsed piece by piece. What is wrong with it is told as `json.loads` does, by bytes."""

    text: bytes
    kinds: npt.NDArray[np.uint8]
    depths: npt.NDArray[np.int8]

    def value(self, start: int, stop: int) -> Any:
        """Of the one JSON value between, perhaps with spaces around it."""
        first = self._past_spaces(start, stop)
        if stop - first <= PIECE or self.kinds[first] != OPEN:
            return self._loaded(first, stop)
        last = first + len(self.text[first:stop].rstrip(SPACES)) - 1
        is_list = self.text[first] == ord("[")
        closed = last > first and self.kinds[last] == CLOSE and self.text[last] == ord("]" if is_list else "}")
        found = (
            self._list(first, last if closed else stop) if is_list else self._object(first, last if closed else stop)
        )
        if not closed:
            raise json.JSONDecodeError("Expecting ',' delimiter", "", stop)
        return found

    def _list(self, first: int, last: int) -> list[Any]:
        found: list[Any] = []
        for start, stop, alone in self._parts(first, last):
            found += [self.value(start, stop)] if alone else self._loaded(start, stop, b"[", b"]")
        return found

    def _object(self, first: int, last: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for start, stop, alone in self._parts(first, last):
            colon = self._colon(start, stop, int(self.depths[first])) if alone else None
            if colon is None:
                found |= self._loaded(start, stop, b"{", b"}")
            else:
                name = self._loaded(start, colon)
                if not isinstance(name, str):
                    raise json.JSONDecodeError("Expecting property name enclosed in double quotes", "", start)
                found[name] = self.value(colon + 1, stop)
        return found

    def _parts(self, first: int, last: int) -> list[tuple[int, int, bool]]:
        """(start, stop, whether it is one member larger than a piece) of the members between two brackets."""
        within = slice(first + 1, last)
        is_comma = (self.kinds[within] == COMMA) & (self.depths[within] == self.depths[first])
        ends = np.append(np.flatnonzero(is_comma) + first + 1, last)
        parts, start, at = list[tuple[int, int, bool]](), first + 1, 0
        while at < len(ends):
            most = int(np.searchsorted(ends, start + PIECE, side="right"))  # members before it fit
            alone = most <= at
            at = at + 1 if alone else most
            stop = int(ends[at - 1])
            if not self.text[start:stop].strip(SPACES) and len(ends) > 1:
                raise json.JSONDecodeError("Expecting value", "", stop)
            parts.append((start, stop, alone))
            start = stop + 1
        return parts

    def _colon(self, start: int, stop: int, depth: int) -> int | None:
        is_colon = (self.kinds[start:stop] == COLON) & (self.depths[start:stop] == depth)
        at = int(is_colon.argmax())
        return start + at if is_colon[at] else None

    def _loaded(self, start: int, stop: int, before: bytes = b"", after: bytes = b"") -> Any:
        try:
            return json.loads(before + self.text[start:stop] + after)
        except json.JSONDecodeError as error:
            raise json.JSONDecodeError(error.msg, "", max(start + error.pos - len(before), 0)) from None

    def _past_spaces(self, start: int, stop: int) -> int:
        return min(stop - len(self.text[start:stop].lstrip(SPACES)), len(self.text) - 1)
