"""Presets: the placements, pages, rules and segments of a space, parsed once per version.

A stored document that cannot be parsed never stops serving: it is left out, and `broken` says why.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from engine.errors import InputError, short_repr
from engine.merchandising.stored_document import StoredDocument
from engine.segments.segments import NO_SEGMENTS, Segments, parse_segments

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
MAX_BYTES = 256 * 1024  # of a body as JSON


class Document(Protocol):
    """The current version of one preset."""

    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def body(self) -> Mapping[str, Any] | None: ...


@dataclass(frozen=True, eq=False)
class Presets:
    version: int = 0  # `presets_version` of the space
    placements: Mapping[str, StoredDocument] = field(default_factory=dict)
    pages: Mapping[str, StoredDocument] = field(default_factory=dict)
    rules: Mapping[str, StoredDocument] = field(default_factory=dict)
    segments: Segments = NO_SEGMENTS
    broken: Mapping[tuple[str, str], str] = field(default_factory=dict)  # (kind, name) -> why it cannot be used


NO_PRESETS = Presets()


def parse_presets(version: int, documents: Iterable[Document]) -> Presets:
    of_kind: dict[str, dict[str, StoredDocument]] = {"placement": {}, "page": {}, "rule": {}, "segment": {}}
    for each in documents:
        if each.body is not None:
            of_kind[each.kind][each.name] = StoredDocument(each.name, each.version, each.body)
    segments = parse_segments({name: each.body for name, each in of_kind["segment"].items()})
    broken = {("segment", name): why for name, why in segments.broken.items()}
    return Presets(version, of_kind["placement"], of_kind["page"], of_kind["rule"], segments, broken)


def check_name(name: str, loc: tuple[str | int, ...]) -> str:
    """The name itself; InputError when it is no valid name of a preset."""
    if not NAME.fullmatch(name):
        expected = "expected a name of 1 to 63 characters a-z, 0-9, ., _ and -, starting with a letter or digit"
        raise InputError(f"{expected}; got {short_repr(name)}", loc=loc)
    return name


def check_body(body: Mapping[str, Any], loc: tuple[str | int, ...]) -> None:
    """InputError for a body that JSON or PostgreSQL cannot store, or with more than MAX_BYTES."""
    try:
        text = json.dumps(dict(body), allow_nan=False)
        size = len(orjson.dumps(body))  # refuses lone surrogates, and integers beyond 64 bits
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"expected JSON values; {error}", loc=loc) from None
    if "\\u0000" in text:
        raise InputError("text cannot contain NUL", loc=loc)
    if size > MAX_BYTES:
        raise InputError(f"a preset has at most {MAX_BYTES:,} bytes of JSON, got {size:,}", loc=loc)
