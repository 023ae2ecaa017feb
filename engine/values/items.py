"""Items of a storefront, and the limits that PostgreSQL and JSON set for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from engine.errors import InputError
from engine.values.ids import check_id

MAX_TEXT_BYTES = 4096
MAX_ATTRIBUTES_BYTES = 65_536


@dataclass(frozen=True)
class ItemVector:
    """A vector that the caller supplied for an item; valid only in the latent space of the given model version."""

    model: int
    values: tuple[float, ...]


@dataclass(frozen=True)
class Item:
    item_id: str
    title: str | None = None
    categories: tuple[str, ...] = ()
    attributes: Mapping[str, object] = field(default_factory=dict)  # JSON values
    available: bool = True
    vector: ItemVector | None = None  # None: the vector is learned from events, or predicted from the item's attributes


def check_item(item: Item, loc: tuple[str | int, ...] = ("item",)) -> Item:
    """Return `item` if PostgreSQL and JSON can store it; else InputError at `loc`."""
    check_id(item.item_id, (*loc, "item_id"))
    for name, text in (("title", item.title), *(("categories", category) for category in item.categories)):
        if text is not None:
            check_text(text, (*loc, name))
    check_attributes(item.attributes, (*loc, "attributes"))
    return item


def check_text(text: str, loc: tuple[str | int, ...]) -> str:
    """Return `text` if it is valid Unicode without NUL and has at most 4,096 bytes of UTF-8; else InputError."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InputError("expected valid Unicode, got a lone surrogate", loc=loc) from None
    if "\x00" in text:
        raise InputError("text cannot contain NUL", loc=loc)
    if size > MAX_TEXT_BYTES:
        raise InputError(f"text has at most {MAX_TEXT_BYTES} bytes of UTF-8, got {size}", loc=loc)
    return text


def check_attributes(attributes: Mapping[str, object], loc: tuple[str | int, ...]) -> str:
    """Return the attributes as JSON text.

    Raises InputError for NaN, infinity, an integer beyond 64 bits, NUL, a lone surrogate, or more than 64 KiB.
    """
    try:
        text = json.dumps(dict(attributes), allow_nan=False, ensure_ascii=False)
        size = len(text.encode())
        orjson.dumps(dict(attributes))  # responses are written with orjson, which refuses integers beyond 64 bits
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"attributes are JSON values; {error}", loc=loc) from None
    if "\\u0000" in text:
        raise InputError("attributes cannot contain NUL", loc=loc)
    if size > MAX_ATTRIBUTES_BYTES:
        raise InputError(f"attributes have at most {MAX_ATTRIBUTES_BYTES} bytes as JSON, got {size}", loc=loc)
    return text
