"""Cursors: the items that a shelf has shown so far, as opaque text that only this space can write.

A cursor names the items instead of a position, so the page after a swap of the generation repeats nothing either. It
is signed (HMAC-SHA256) with a secret of the space that all servers read from PostgreSQL, and belongs to one shelf: to
the placement or page that made it and to the request that asked for it.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import orjson
from pydantic import BaseModel

from engine.errors import InputError
from engine.values.ids import check_normalised_id

Loc = tuple[str | int, ...]
SEPARATOR = "\x00"  # no id and no name of a placement contains it
MAX_SHOWN = 1000  # a longer shelf has no next page
MAX_BYTES = (MAX_SHOWN + 4) * 257
MAX_AGE_S = 86_400
WINDOW_BITS, MEMORY_LEVEL = 11, 4  # ids are short: 3 us for ten of them, with the window of zlib.compress 48 us
HEADER = struct.Struct(">BI8s")  # version of the format, seconds since 1970, digest of the request
VERSION = 1
SIGNATURE_BYTES = 16
MAY_CHANGE = frozenset(  # between the pages of a shelf; everything else says which shelf it is
    {
        "cursor",
        "cursors",
        "shelves",
        "k",
        "fields",
        "explain",
        "min_seq",
        "deadline_ms",
        "history",
        "exclude_items",
        "placement",
    }
)
UNCHANGED = "expected a `cursor` from a response of this space, unchanged; ask for the first page without a cursor"


@dataclass(frozen=True, slots=True)
class Series:
    """The pages of one shelf: what all of its cursors have in common."""

    secret: bytes = field(repr=False)
    digest: bytes  # (8,) of the request
    now_s: int
    scope: str = ""  # the placement, or the page and its shelf
    note: str = ""  # what the first page chose and the next ones keep, such as the item that a shelf starts from


def series(
    secret: bytes, body: BaseModel, now_us: int, *, scope: str = "", more: Mapping[str, object] | None = None
) -> Series:
    """The series of a request's pages. `more` says which shelf it is beside the body, such as the item of the path."""
    said = {} if more is None else dict(more)
    of_shelf = _of_shelf(type(body))
    for name in body.model_fields_set:
        if name in of_shelf and (value := getattr(body, name)) != of_shelf[name]:
            said[name] = _as_json(value) if name == "filter" else getattr(value, "text", value)
    try:
        text = orjson.dumps(said, default=_plain, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # lists in lists, deeper than a filter may be: the parser of filters names the place
        text = b""
    return Series(secret, blake2b(text, digest_size=8).digest(), now_us // 1_000_000, scope)


def after(shown: Sequence[str], pages: Series) -> str | None:
    """The cursor of the page after these item ids; None without items, or when the shelf ends there."""
    if not shown or len(shown) > MAX_SHOWN:
        return None
    compressor = zlib.compressobj(1, zlib.DEFLATED, WINDOW_BITS, MEMORY_LEVEL)
    packed = compressor.compress(SEPARATOR.join((pages.scope, pages.note, *shown)).encode()) + compressor.flush()
    signed = HEADER.pack(VERSION, pages.now_s, pages.digest) + packed
    return base64.urlsafe_b64encode(_signature(pages.secret, signed) + signed).decode().rstrip("=")


def shown(cursor: str | None, pages: Series, loc: Loc) -> list[str]:
    """The item ids of the pages before a cursor; InputError for a cursor that does not continue this shelf."""
    return [] if cursor is None else opened(cursor, pages, loc)[1]


def opened(cursor: str, pages: Series, loc: Loc) -> tuple[str, list[str]]:
    """The note of a cursor and the item ids of the pages before it; InputError as `shown`."""
    issued_s, digest, packed = _opened(cursor, pages.secret, loc)
    try:
        text = zlib.decompressobj().decompress(packed, MAX_BYTES).decode()
        scope, note, *ids = text.split(SEPARATOR)
        ids = [check_normalised_id(each, loc) for each in ids]
    except (zlib.error, ValueError, InputError):
        raise InputError(UNCHANGED, loc=loc) from None
    if scope != pages.scope:
        raise InputError(f"this cursor is of {_name(scope)}, and the request is for {_name(pages.scope)}", loc=loc)
    if digest != pages.digest:
        message = "this cursor is of another request; with a cursor, only k, fields, explain, history and exclude_items"
        raise InputError(f"{message} may change; ask for the first page without a cursor", loc=loc)
    if pages.now_s - issued_s > MAX_AGE_S:
        days = (pages.now_s - issued_s) / 86_400
        message = f"this cursor is {days:.1f} days old, and cursors are valid for one day"
        raise InputError(f"{message}; ask for the first page without a cursor", loc=loc)
    return note, ids


def _opened(cursor: str, secret: bytes, loc: Loc) -> tuple[int, bytes, bytes]:
    """Seconds, digest and packed ids of a cursor that this space signed."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InputError(UNCHANGED, loc=loc) from None
    signature, signed = raw[:SIGNATURE_BYTES], raw[SIGNATURE_BYTES:]
    if len(signed) <= HEADER.size or not hmac.compare_digest(signature, _signature(secret, signed)):
        raise InputError(UNCHANGED, loc=loc)
    version, issued_s, digest = HEADER.unpack_from(signed)
    if version != VERSION:
        raise InputError(UNCHANGED, loc=loc)
    return issued_s, digest, signed[HEADER.size :]


def _signature(secret: bytes, signed: bytes) -> bytes:
    return hmac.digest(secret, signed, "sha256")[:SIGNATURE_BYTES]


def _name(scope: str) -> str:
    page, slash, shelf = scope.partition("/")
    if slash:
        return f"shelf {shelf!r} of page {page!r}"
    return f"placement {scope!r}" if scope else "a shelf without a placement"


@lru_cache(maxsize=64)
def _of_shelf(model: type[BaseModel]) -> dict[str, Any]:
    """The fields of a body that say which shelf it is, with their defaults."""
    return {
        name: info.get_default(call_default_factory=True)
        for name, info in model.model_fields.items()
        if name not in MAY_CHANGE
    }


def _as_json(filter_: object) -> object:
    """The filter of a query is JSON text; the same filter of a body continues the shelf too."""
    try:
        return orjson.loads(filter_) if isinstance(filter_, str) else filter_
    except orjson.JSONDecodeError:
        return filter_


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_unset=True)
    if isinstance(value, frozenset | set):
        return sorted(value)
    if isinstance(value, tuple):  # a named one, such as `exclude`; the repr of a set in it differs between processes
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    return repr(value)
