"""Cursors: what a shelf has shown so far, as opaque text. A new generation in between repeats nothing either."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Sequence

from engine.errors import InputError
from engine.values.ids import check_normalised_id

SEPARATOR = "\x00"  # no id has one
MAX_SHOWN = 1000  # a shelf ends there
MAX_BYTES = MAX_SHOWN * 257


def after(shown: Sequence[str]) -> str | None:
    """The cursor that goes on after these item ids; None when there is nothing to go on after, or no further."""
    if not shown or len(shown) > MAX_SHOWN:
        return None
    packed = zlib.compress(SEPARATOR.join(shown).encode(), 1)
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def shown(cursor: str | None, loc: tuple[str | int, ...]) -> list[str]:
    """The item ids that a cursor has behind it; InputError for one that was not given out here."""
    if cursor is None:
        return []
    try:
        packed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        text = zlib.decompressobj().decompress(packed, MAX_BYTES).decode()
        ids = [check_normalised_id(each, loc) for each in text.split(SEPARATOR)]
    except (binascii.Error, zlib.error, ValueError, InputError):
        ids = []
    if not 1 <= len(ids) <= MAX_SHOWN:
        raise InputError("expected a cursor as an answer gave it", loc=loc)
    return ids
