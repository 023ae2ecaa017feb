"""Ids: normalisation, validation, and the map between external ids and internal rows."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from engine.errors import InputError, NotFound

MAX_ID_BYTES = 256

# Characters that no user sees around an id: Unicode white space, zero-width characters, direction marks, the byte
# order mark.
INVISIBLE = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060"
    "\u2066\u2067\u2068\u2069\ufeff"
)

WHOLE_FLOAT = re.compile(r"-?[0-9]+\.0")

Rows = npt.NDArray[np.int64]


def normalise_id(text: str) -> str:
    """The stored form of an id: stripped of INVISIBLE characters, in Unicode NFC. "1 " becomes "1".

    "17850.0" becomes "17850": an integer column is exported with ".0" as soon as one of its cells is missing. Every
    entry point normalises ids: files, request bodies, query parameters, paths and the command line.
    """
    text = text.strip() if text.isascii() else unicodedata.normalize("NFC", text.strip(INVISIBLE))
    return text[:-2] if text.endswith(".0") and WHOLE_FLOAT.fullmatch(text) else text


def check_id(value: object, loc: tuple[str | int, ...] = ("id",)) -> str:
    """Return the normalised form of `value`; InputError at `loc` if it is not a valid id."""
    return check_normalised_id(normalise_id(value) if isinstance(value, str) else value, loc)


def check_normalised_id(value: object, loc: tuple[str | int, ...] = ("id",)) -> str:
    """Return `value`, already normalised, if it has 1 to 256 bytes of UTF-8 and no NUL; else InputError at `loc`."""
    if not isinstance(value, str) or not value:
        raise InputError(f"expected a non-empty text id, got {value!r}", loc=loc)
    if "\x00" in value:
        raise InputError("an id cannot contain NUL", loc=loc)
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise InputError("an id must be valid Unicode, got a lone surrogate", loc=loc) from None
    if size > MAX_ID_BYTES:
        raise InputError(f"an id has at most {MAX_ID_BYTES} bytes of UTF-8, got {size}", loc=loc)
    return value


class IdSequence(Protocol):
    def __getitem__(self, row: int, /) -> str: ...


class IdIndex(Protocol):
    """A two-way map between ids and rows: an IdMap, or an IdMap that is extended by later ids."""

    @property
    def ids(self) -> IdSequence: ...
    def row(self, id_: str) -> int | None: ...
    def __contains__(self, id_: object) -> bool: ...
    def __len__(self) -> int: ...


class IdMap:
    """Distinct ids in row order; `ids[row]` and `rows([id])` are inverse to each other."""

    def __init__(self, ids: Iterable[str]):
        self.ids: tuple[str, ...] = tuple(ids)
        if len(self._row_of) != len(self.ids):
            raise InputError(f"ids must be distinct, got {len(self.ids) - len(self._row_of)} duplicates")

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {id_: row for row, id_ in enumerate(self.ids)}

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, id_: object) -> bool:
        return id_ in self._row_of

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IdMap) and self.ids == other.ids

    __hash__ = None  # type: ignore[assignment]

    def row(self, id_: str) -> int | None:
        return self._row_of.get(id_)

    def rows(self, ids: Sequence[str], *, missing: Literal["error", "skip"]) -> Rows:
        """The rows of `ids` in their order, int64. Unknown ids raise NotFound or are skipped."""
        found = [row for id_ in ids if (row := self._row_of.get(id_)) is not None]
        if missing == "error" and len(found) != len(ids):
            unknown = [id_ for id_ in ids if id_ not in self._row_of]
            raise NotFound(f"unknown id {unknown[0]!r}" + (f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""))
        return np.asarray(found, dtype=np.int64)
