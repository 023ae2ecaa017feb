"""nearfield recommend, in this process or through a server."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.shop.answer_output import emit_answer, emit_body
from api.cli.shop.recommend_all import write_all
from api.cli.shop.remote import Url, ask
from api.cli.shop.search import search
from api.cli.terminal.options import Filter, Json, K, SpaceName, checked_k, opened, parsed_filter, parsed_predicate
from api.coalescing.people import with_people
from api.messages import warnings
from api.request_parsing import OF_ITEMS
from api.strategies.strategy_parsing import Strategy, check_seeds, parse_strategy
from engine.catalogue.predicate import Predicate
from engine.errors import InputError
from engine.recommending.exclude_parameter import ExcludedRelations, exclude_from_text, parse_exclude
from engine.recommending.pipeline import recommend
from engine.recommending.sources.registry import STRATEGIES
from engine.recommending.values.request import NO_HISTORY, Request
from engine.store import events
from engine.store.database.connections import Database
from engine.values.events import view_history
from engine.values.ids import check_id
from indexing.live.view import LiveView
from indexing.refresh.live_space import LiveSpace

EXCLUDE = (
    "Items to leave out: seen, purchased or none. Each also leaves out returned and disliked items. A JSON list leaves "
    "out exactly what it names: seen, purchased, returned, disliked."
)
Exclude = Annotated[str, typer.Option(help=EXCLUDE)]
SeedItems = Annotated[
    list[str] | None,
    typer.Option(
        help="Recommend for a visitor who viewed this item, or start from it. Repeatable.", show_default=False
    ),
]
Fallback = Annotated[
    list[str] | None,
    typer.Option(
        help="The strategy that continues the list when the first has no more items; none: no other. Repeatable.",
        show_default=False,
    ),
]
People = Annotated[list[str] | None, typer.Option(help="A user of for_these_people. Repeatable.", show_default=False)]
ShelfExclude = Annotated[
    str | None, typer.Option(help=f"{EXCLUDE} Default: by strategy, mostly seen.", show_default=False)
]


@dataclass(frozen=True)
class Shelf:
    """The options that say which items are candidates, as the fields of a request over HTTP."""

    strategy: str
    user_id: str | None
    user_ids: tuple[str, ...]
    item_ids: tuple[str, ...]
    exclude: ExcludedRelations | None
    fallback: tuple[str, ...] | None
    seed: int | None
    fill: None = None
    personalization: str = "full"
    history: tuple[()] = ()
    vector: None = None

    def body(self, exclude: str | None) -> dict[str, Any]:
        """The fields that are not left to their defaults; `exclude` is the text of the option."""
        asked: dict[str, Any] = {"user_id": self.user_id, "item_ids": list(self.item_ids), "strategy": self.strategy}
        asked |= {"user_ids": list(self.user_ids), "fallback": self.fallback, "seed": self.seed}
        asked |= {"exclude": None if exclude is None else exclude_from_text(exclude)}
        return {name: value for name, value in asked.items() if value is not None}


def add_to(app: typer.Typer) -> None:
    app.command(name="recommend")(recommend_items)
    app.command()(search)


def recommend_items(
    user: Annotated[str | None, typer.Option(help="Recommend for this user.", show_default=False)] = None,
    item: SeedItems = None,
    strategy: Annotated[str, typer.Option(help=f"Which items are candidates: {', '.join(STRATEGIES)}.")] = "for_you",
    fallback: Fallback = None,
    person: People = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="With the same seed, random items are the same again.", show_default=False)
    ] = None,
    everyone: Annotated[bool, typer.Option("--all", help="Recommend for every user; write to --out.")] = False,
    file: Annotated[
        Path | None, typer.Option("--out", help="File for --all: .parquet, .csv or .jsonl.", show_default=False)
    ] = None,
    filter_: Filter = None,
    exclude: ShelfExclude = None,
    k: K = 10,
    url: Url = None,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Recommend items to a user, a visitor or all users.

    Without --user and --item, and for an unknown user, the answer has popular items. Prints a table with score and
    reason; fewer than --k items come with an explanation. The guide of recommend describes each --strategy.

    Example: `nearfield recommend --user ann --k 5 --filter '{"price": {"lt": 30}}'`
    """
    if everyone and (file is None or user is not None or item):
        raise InputError("--all writes to a file: give --out FILE, and neither --user nor --item")
    if file is not None and not everyone:
        raise InputError("--out goes with --all")
    if everyone and (strategy != "for_you" or person):
        raise InputError("--all recommends by the strategy for_you; leave out --strategy and --person")
    people, items = tuple(person or ()), tuple(item or ())
    excluded = None if exclude is None else parsed_exclude(exclude)
    asked = Shelf(named(strategy, "--strategy"), user, people, items, excluded, parsed_fallback(fallback), seed)
    chosen = parse_strategy(asked)
    if url is not None:
        if everyone:
            raise InputError("--all reads the database directly; leave out --url")
        body = {"k": k, **asked.body(exclude)}
        body |= {} if filter_ is None else {"filter": parsed_filter(filter_)}
        emit_body(ask(url, space, "recommend", body), json)
        return
    with opened(space) as (settings, database, found):
        view = LiveSpace(database, settings.generations, found.name).current()
        request = requested(chosen, k, seed, parsed_predicate(filter_, view.presets.segments))
        checked_k(k, settings)
        problems = warnings.of_filter(view, request.predicate)
        if file is not None:
            write_all(database, view, request, file, problems, json)
            return
        now_us = time.time_ns() // 1000
        request = with_histories(request, asked, view, database, settings.history_limit, now_us)
        check_seeds(view, request)
        [answer] = recommend(view, [request], weighting=found.weighting, now_us=now_us)
    emit_answer(view, answer, problems + warnings.of_items(view, items, ("item",)), json)


def with_histories(
    request: Request, asked: Shelf, view: LiveView, database: Database, limit: int, now_us: int
) -> Request:
    """The request with the newest `limit` events of its user and of its people, after views of the listed items."""
    item_ids = [check_id(id_, ("item",)) for id_ in asked.item_ids]
    history = NO_HISTORY if asked.strategy == "list" else view_history(item_ids, now_us)
    if asked.user_id is not None:
        with database.connect() as conn:
            stored = events.history(conn, view.space.key, check_id(asked.user_id, ("user",)), limit)
        history = history.followed_by(stored)
    starts = item_ids if asked.strategy in OF_ITEMS else ()
    request = replace(request, user_id=asked.user_id, history=history, item_ids=starts)
    return with_people(request, asked.user_ids, view, database, limit)[0]


def requested(chosen: Strategy, k: int, seed: int | None, predicate: Predicate | None) -> Request:
    excluded = chosen.exclude
    return Request(
        source=chosen.source,
        fallback=chosen.fallback,
        k=k,
        seed=seed,
        predicate=predicate,
        exclude=excluded.relations,
        exclude_within=excluded.within,
    )


def parsed_fallback(names: Sequence[str] | None) -> tuple[str, ...] | None:
    if not names:
        return None
    return () if list(names) == ["none"] else tuple(named(name, "--fallback") for name in names)


def named(name: str, option: str) -> str:
    if name not in STRATEGIES:
        raise InputError(f"{option} takes one of {', '.join(STRATEGIES)}; got {name!r}")
    return name


def parsed_exclude(exclude: str) -> ExcludedRelations:
    try:
        return parse_exclude(exclude_from_text(exclude))
    except ValueError as error:
        raise InputError(f"--exclude {exclude!r}: {error}") from None
