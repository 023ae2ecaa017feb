"""nearfield recommend and nearfield search, in this process or through a server."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import orjson
import pyarrow as pa
import typer

from api.cli.records.record_sources import parsed_record
from api.cli.shop.remote import Url, ask
from api.cli.terminal.options import Filter, Json, K, SpaceName, checked_k, opened, parsed_filter, parsed_predicate
from api.cli.terminal.output import emit, out, progress, table
from api.cli.terminal.table_files import write_tables
from api.messages import warnings
from engine.codec.feature_codec import required
from engine.errors import InputError, NotEnoughData, Problem
from engine.recommending import exclusions
from engine.recommending.batch import recommend_all
from engine.recommending.recommend import Answer, recommend
from engine.recommending.similar import nearest, similar
from engine.store import events, users
from engine.store.database.connections import Database
from engine.store.spaces import Space
from engine.values.events import view_history
from engine.values.features import from_records
from engine.values.ids import check_id
from engine.values.vectors import check_vector
from indexing.live.view import LiveView
from indexing.refresh.live_space import Live

SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("rank", pa.int32()),
        ("item_id", pa.string()),
        ("score", pa.float32()),
        ("reason", pa.string()),
        ("title", pa.string()),
    ]
)
ROWS = 100_000  # per table written
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
    away = _left_out(exclude)
    if url is not None:
        if everyone:
            raise InputError("--all works on the database itself; leave --url away")
        asked = {"user_id": user, "item_ids": item or [], "k": k, "exclude": exclusions.written(exclude)}
        _show(ask(url, space, "recommend", asked | _filter(filter_)), json)
        return
    with opened(space) as (settings, database, found):
        view = Live(database, settings.generations, found.name).current().where(wanted := parsed_predicate(filter_))
        checked_k(k, settings)
        told = warnings.of_filter(view, wanted)
        if file is not None:
            _recommend_all(database, found, view, file, k, away, told, json)
            return
        now_us = time.time_ns() // 1000
        looked = [check_id(id_, ("item",)) for id_ in item or ()]
        history, told = view_history(looked, now_us), told + warnings.of_items(view, looked, ("item",))
        if user is not None:
            with database.connect() as conn:
                stored = events.history(conn, found.key, check_id(user, ("user",)), settings.history_limit)
            history = history.followed_by(stored)
        out_ids = exclusions.of_history(history, found.weighting, away)
        answer = recommend(view, k=k, weighting=found.weighting, now_us=now_us, history=history, exclude=out_ids)
    _emit(view, answer, told, json)


def search(
    item: Annotated[
        list[str] | None, typer.Option(help="Find items similar to this one. Repeatable.", show_default=False)
    ] = None,
    unlike: Annotated[
        list[str] | None, typer.Option(help="And dissimilar to this one. Repeatable.", show_default=False)
    ] = None,
    vector: Annotated[
        str | None, typer.Option(help="Find items near this vector, a JSON list.", show_default=False)
    ] = None,
    record: Annotated[
        str | None, typer.Option(help="Find items near this record of features, a JSON object.", show_default=False)
    ] = None,
    filter_: Filter = None,
    k: K = 10,
    url: Url = None,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Find items similar to items, a vector or a record.

    Prints a table with the similarity as score. --record needs a model of feature records.

    Example: `nearfield search --item lamp --unlike tent --k 5`
    """
    if sum(map(bool, (vector, item, record))) != 1 or (unlike and not item):
        raise InputError("give --item, with perhaps --unlike, or --vector, or --record")
    if url is not None:
        named: dict[str, Any] = {"positive": item, "negative": unlike or []}
        if vector is not None or record is not None:
            named = {"vector": _numbers(vector)} if vector is not None else {"record": parsed_record(record or "")}
        _show(ask(url, space, "search", {**named, "k": k} | _filter(filter_)), json)
        return
    with opened(space) as (settings, database, found):
        view = Live(database, settings.generations, found.name).current().where(wanted := parsed_predicate(filter_))
        checked_k(k, settings)
        if vector is not None or record is not None:
            answer = _near(view, vector, record, k)
        else:
            liked, unliked = ([check_id(id_, ("item",)) for id_ in each or ()] for each in (item, unlike))
            answer = similar(view, liked, unliked, k=k, exclude=())
    _emit(view, answer, warnings.of_filter(view, wanted), json)


def _filter(text: str | None) -> dict[str, Any]:
    return {} if text is None else {"filter": parsed_filter(text)}


def _near(view: LiveView, vector: str | None, record: str | None, k: int) -> Answer:
    if view.generation is None:
        raise NotEnoughData("nothing is indexed yet; run `nearfield reindex`")
    if vector is not None:
        return nearest(view, check_vector(_numbers(vector), view.dim), k=k)
    codec = required(view.codec, f"model {view.generation.model} of space {view.space.name!r}")
    return nearest(view, codec.encode(from_records(codec.columns, [parsed_record(record or "")]))[0], k=k)


def _numbers(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InputError(f"--vector is a JSON list of finite numbers: {error}") from None


def _emit(view: LiveView, answer: Answer, told: Sequence[Problem], json: bool) -> None:
    items: list[dict[str, Any]] = [
        {
            "item_id": hit.item_id,
            "score": hit.score,
            "reason": hit.reason,
            "fields": _fields(view, hit.item_id, hit.row),
        }
        for hit in answer.hits
    ]
    short = answer.shortfall
    body: dict[str, Any] = {
        "items": items,
        "model": view.generation.model if view.generation else None,
        "generation": view.generation.generation if view.generation else None,
        "degraded": view.degraded,
        "shortfall": short and {"requested": short.requested, "returned": short.returned, "reason": short.reason},
        "warnings": warnings.to_json(told),
    }
    _show(body, json)


def _show(body: dict[str, Any], json: bool) -> None:
    def show() -> None:
        items, short = body["items"], body["shortfall"]
        rows = [(each["item_id"], each["fields"].get("title"), each["score"], each["reason"]) for each in items]
        table(("item", "title", "score", "reason"), rows)
        if short is not None:
            out.print(f"{short['returned']} of {short['requested']}: {short['reason']}")
        _warn(body)

    emit(json, body, show)


def _warn(body: Mapping[str, Any]) -> None:
    for each in body.get("warnings", ()):
        out.print(f"{'.'.join(map(str, each['loc']))}: {each['msg']}", markup=False, soft_wrap=True)


def _fields(view: LiveView, item_id: str, row: int) -> dict[str, Any]:
    fields: dict[str, Any] = orjson.loads(view.fields(item_id, row))
    return fields


def _left_out(exclude: str) -> frozenset[str]:
    try:
        return exclusions.left_out(exclusions.written(exclude))
    except ValueError as error:
        raise InputError(f"--exclude {exclude!r}: {error}") from None


def _recommend_all(
    database: Database,
    space: Space,
    view: LiveView,
    file: Path,
    k: int,
    away: frozenset[str],
    told: Sequence[Problem],
    json: bool,
) -> None:
    with database.connect() as conn:
        columns = events.read_columns(conn, space.key)
        everyone = users.ids(conn, space.key)
    if not everyone:
        raise NotEnoughData(f"space {space.name!r} has no users yet")
    started = time.perf_counter()
    now_us = time.time_ns() // 1000
    asked: dict[str, Any] = {"k": k, "weighting": space.weighting, "now_us": now_us, "exclude": away}
    answers = recommend_all(view, columns, everyone, **asked)
    with progress() as tell:
        n_rows = write_tables(file, SCHEMA, _tables(view, _told(answers, len(everyone), tell)))
    seconds = round(time.perf_counter() - started, 3)
    body = {"users": len(everyone), "rows": n_rows, "out": str(file), "seconds": seconds}
    body["warnings"] = warnings.to_json(told)

    def show() -> None:
        out.print(f"{n_rows:,} rows for {len(everyone):,} users in {file}, {seconds} s")
        _warn(body)

    emit(json, body, show)


def _told(answers: Iterable[tuple[str, Answer]], n: int, tell: Any) -> Iterable[tuple[str, Answer]]:
    for at, answer in enumerate(answers):
        if at % 256 == 0:
            tell(f"user {at:,} of {n:,}", at / n)
        yield answer


def _tables(view: LiveView, answers: Iterable[tuple[str, Answer]]) -> Iterable[pa.Table]:
    titles: dict[str, str | None] = {}
    rows: list[tuple[str, int, str, float, str, str | None]] = []
    for user_id, answer in answers:
        for rank, hit in enumerate(answer.hits, 1):
            if hit.item_id not in titles:
                titles[hit.item_id] = _fields(view, hit.item_id, hit.row).get("title")
            rows.append((user_id, rank, hit.item_id, hit.score, hit.reason, titles[hit.item_id]))
        if len(rows) >= ROWS:
            yield _table(rows)
            rows = []
    yield _table(rows)


def _table(rows: list[tuple[str, int, str, float, str, str | None]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(SCHEMA)
    arrays = [pa.array(column, type=field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)
