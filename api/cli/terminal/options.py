"""Options that several commands share, and the space they work on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import orjson
import typer
from pydantic import ValidationError

from engine.catalogue import predicate
from engine.catalogue.predicate import Predicate
from engine.errors import InputError
from engine.settings import Settings
from engine.store import spaces
from engine.store.database.connections import Database, open_database
from engine.store.spaces import Space

SpaceName = Annotated[str, typer.Option("--space", help="The space to work on.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")]
Embedder = Annotated[str, typer.Option(help="How to learn; `nearfield embedders` lists them.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="A parameter of the embedder, as dim=128; repeatable.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same model.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Recipe = Annotated[str, typer.Option(help="auto, flat, ivf, hnsw, a FAISS factory string, or IVF447,int8.")]
Force = Annotated[bool, typer.Option("--force", help="Publish even when popularity is better.")]
FILTER = 'Only items that pass, as JSON: {"price": {"lt": 30}}'
Filter = Annotated[str | None, typer.Option("--filter", help=FILTER, show_default=False)]
K = Annotated[int, typer.Option("--k", help="How many items.")]


def settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"])
        raise InputError(f"NEARFIELD_{name.upper()}: {first['msg']}") from None


@contextmanager
def opened(name: str) -> Iterator[tuple[Settings, Database, Space]]:
    """The settings, the open database and a space of it; `default` is always there."""
    found = settings()
    with open_database(found) as database:
        with database.begin() as conn:
            space = spaces.ensure(conn, name) if name == "default" else spaces.get(conn, name)
        yield found, database, space


def pairs(texts: Sequence[str] | None, option: str) -> dict[str, str]:
    """`name=value` texts as a dict."""
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"{option} takes name=value, got {text!r}")
        if name in found:
            raise InputError(f"{option} {name} is given twice")
        found[name] = value
    return found


def passed(text: str | None) -> Predicate | None:
    """The predicate of a --filter; InputError names the part that is wrong."""
    return None if text is None else predicate.parse(parsed_filter(text), ("filter",))


def parsed_filter(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InputError(f'--filter is JSON such as {{"price": {{"lt": 30}}}}: {error}') from None


def checked_k(k: int, found: Settings) -> int:
    if not 1 <= k <= found.max_k:
        raise InputError(f"expected a --k of 1 to {found.max_k}, got {k}")
    return k
