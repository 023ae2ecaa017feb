"""nearfield recommend, in this process or through a server."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.shop.answer_output import emit_answer, emit_body
from api.cli.shop.recommend_all import write_all
from api.cli.shop.remote import Url, ask
from api.cli.shop.search import search
from api.cli.terminal.options import Filter, Json, K, SpaceName, checked_k, opened, parsed_filter, parsed_predicate
from api.messages import warnings
from engine.errors import InputError
from engine.recommending.exclude_parameter import ExcludedRelations, exclude_from_text, parse_exclude
from engine.recommending.pipeline import recommend
from engine.recommending.values.request import Request
from engine.store import events
from engine.values.events import view_history
from engine.values.ids import check_id
from indexing.refresh.live_space import LiveSpace

EXCLUDE = (
    "Items to leave out: seen, purchased or none. Each also leaves out returned and disliked items. A JSON list leaves "
    "out exactly what it names: seen, purchased, returned, disliked."
)
Exclude = Annotated[str, typer.Option(help=EXCLUDE)]


def add_to(app: typer.Typer) -> None:
    app.command(name="recommend")(recommend_items)
    app.command()(search)


def recommend_items(
    user: Annotated[str | None, typer.Option(help="Recommend for this user.", show_default=False)] = None,
    item: Annotated[
        list[str] | None,
        typer.Option(help="Recommend for a visitor who viewed this item. Repeatable.", show_default=False),
    ] = None,
    everyone: Annotated[bool, typer.Option("--all", help="Recommend for every user; write to --out.")] = False,
    file: Annotated[
        Path | None, typer.Option("--out", help="File for --all: .parquet, .csv or .jsonl.", show_default=False)
    ] = None,
    filter_: Filter = None,
    exclude: Exclude = "seen",
    k: K = 10,
    url: Url = None,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Recommend items to a user, a visitor or all users.

    Without --user and --item, and for an unknown user, the answer has popular items. Prints a table with score and
    reason; fewer than --k items come with an explanation.

    Example: `nearfield recommend --user ann --k 5 --filter '{"price": {"lt": 30}}'`
    """
    if everyone and (file is None or user is not None or item):
        raise InputError("--all writes to a file: give --out FILE, and neither --user nor --item")
    if file is not None and not everyone:
        raise InputError("--out goes with --all")
    excluded = parsed_exclude(exclude)
    if url is not None:
        if everyone:
            raise InputError("--all reads the database directly; leave out --url")
        body: dict[str, Any] = {"user_id": user, "item_ids": item or [], "k": k, "exclude": exclude_from_text(exclude)}
        body |= {} if filter_ is None else {"filter": parsed_filter(filter_)}
        emit_body(ask(url, space, "recommend", body), json)
        return
    with opened(space) as (settings, database, found):
        view = LiveSpace(database, settings.generations, found.name).current()
        predicate = parsed_predicate(filter_, view.presets.segments)
        request = Request(k=k, predicate=predicate, exclude=excluded.relations, exclude_within=excluded.within)
        checked_k(k, settings)
        problems = warnings.of_filter(view, request.predicate)
        if file is not None:
            write_all(database, view, request, file, problems, json)
            return
        now_us = time.time_ns() // 1000
        item_ids = [check_id(id_, ("item",)) for id_ in item or ()]
        history = view_history(item_ids, now_us)
        if user is not None:
            with database.connect() as conn:
                stored = events.history(conn, found.key, check_id(user, ("user",)), settings.history_limit)
            history = history.followed_by(stored)
        request = replace(request, user_id=user, history=history)
        [answer] = recommend(view, [request], weighting=found.weighting, now_us=now_us)
    emit_answer(view, answer, problems + warnings.of_items(view, item_ids, ("item",)), json)


def parsed_exclude(exclude: str) -> ExcludedRelations:
    try:
        return parse_exclude(exclude_from_text(exclude))
    except ValueError as error:
        raise InputError(f"--exclude {exclude!r}: {error}") from None
