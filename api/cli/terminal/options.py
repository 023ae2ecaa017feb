"""Options that several commands share, how their values are parsed, and the space that a command works on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import orjson
import typer
from pydantic import ValidationError

from engine.catalogue import predicate
from engine.catalogue.predicate import Predicate
from engine.errors import InputError
from engine.merchandising.references import References
from engine.segments.segments import NO_SEGMENTS, Segments
from engine.settings import Settings
from engine.store import spaces
from engine.store.database.connections import Database, open_database
from engine.store.spaces import Space
from engine.templates.situation import Situation

SpaceName = Annotated[str, typer.Option("--space", help="The space to work on: one shop, or one set of records.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line, for scripts.")]
Embedder = Annotated[str, typer.Option(help="Model to train; `nearfield embedders` lists them. auto compares several.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="A parameter of the embedder, as dim=128. Repeatable.", show_default=False),
]
Seed = Annotated[int, typer.Option(help="Seed of the random numbers; the same seed gives the same result.")]
Device = Annotated[str, typer.Option(help="Device to compute on: cpu, cuda or cuda:1.")]
Recipe = Annotated[
    str,
    typer.Option(
        help="Kind of index: auto (the fastest with recall .99), flat, ivf, hnsw, cagra, a FAISS factory string, or "
        "IVF447,int8."
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Allow publishing a model that is worse than popularity.")]
Filter = Annotated[
    str | None,
    typer.Option(
        "--filter", help='Only items that match this filter, as JSON: {"price": {"lt": 30}}', show_default=False
    ),
]
K = Annotated[int, typer.Option("--k", help="Number of items.")]


def settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"])
        raise InputError(f"NEARFIELD_{name.upper()}: {first['msg']}") from None


@contextmanager
def opened(name: str) -> Iterator[tuple[Settings, Database, Space]]:
    """The settings, the open database and the space; the space `default` is created if needed."""
    found = settings()
    with open_database(found) as database:
        with database.begin() as conn:
            space = spaces.ensure(conn, name) if name == "default" else spaces.get(conn, name)
        yield found, database, space


def pairs(texts: Sequence[str] | None, option: str) -> dict[str, str]:
    """`name=value` texts as a dict; `option` is named in errors."""
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"{option} takes name=value, got {text!r}")
        if name in found:
            raise InputError(f"{option} {name} is given twice")
        found[name] = value
    return found


def parsed_predicate(
    text: str | None, segments: Segments = NO_SEGMENTS, situation: Situation | None = None
) -> Predicate | None:
    """The predicate of a --filter; InputError names the wrong part."""
    if text is None:
        return None
    references = References(segments, situation or Situation(now_us=time.time_ns() // 1000))
    return predicate.parse(references.expand(parsed_filter(text), ("filter",)), ("filter",))


def parsed_filter(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InputError(f'--filter takes JSON such as {{"price": {{"lt": 30}}}}: {error}') from None


def checked_k(k: int, found: Settings) -> int:
    if not 1 <= k <= found.max_k:
        raise InputError(f"expected a --k of 1 to {found.max_k}, got {k}")
    return k
