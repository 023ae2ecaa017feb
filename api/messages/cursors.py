"""Cursors: the items that a shelf has shown so far, as opaque text. A page after a swap of the generation repeats
nothing either.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Sequence

from engine.errors import InputError
from engine.values.ids import check_normalised_id

SEPARATOR = "\x00"  # no id contains it
MAX_SHOWN = 1000  # a longer shelf has no next page
MAX_BYTES = MAX_SHOWN * 257
WINDOW_BITS, MEMORY_LEVEL = 11, 4  # ids are short: 3 us for ten of them, with the window of zlib.compress 48 us


def after(shown: Sequence[str]) -> str | None:
    """The cursor of the page after these item ids; None without items, or when the shelf ends there."""
    if not shown or len(shown) > MAX_SHOWN:
        return None
    compressor = zlib.compressobj(1, zlib.DEFLATED, WINDOW_BITS, MEMORY_LEVEL)
    packed = compressor.compress(SEPARATOR.join(shown).encode()) + compressor.flush()
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def shown(cursor: str | None, loc: tuple[str | int, ...]) -> list[str]:
    """The item ids of the pages before a cursor; InputError for text that is not a cursor of an answer."""
    if cursor is None:
        return []
    try:
        packed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        text = zlib.decompressobj().decompress(packed, MAX_BYTES).decode()
        ids = [check_normalised_id(each, loc) for each in text.split(SEPARATOR)]
    except (binascii.Error, zlib.error, ValueError, InputError):
        ids = []
    if not 1 <= len(ids) <= MAX_SHOWN:
        raise InputError("expected a `cursor` from a response, unchanged", loc=loc)
    return ids
