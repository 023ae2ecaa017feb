"""nearfield search, in this process or through a server."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import orjson
import typer

from api.cli.records.record_sources import parsed_record
from api.cli.shop.answer_output import emit_answer, emit_body
from api.cli.shop.remote import Url, ask
from api.cli.terminal.options import Filter, Json, K, SpaceName, checked_k, opened, parsed_filter, parsed_predicate
from api.messages import warnings
from engine.codec.feature_codec import required
from engine.errors import InputError, NotEnoughData
from engine.recommending.pipeline import recommend
from engine.recommending.values.request import Request
from engine.values.features import from_records
from engine.values.ids import check_id
from engine.values.vectors import Matrix, check_vector
from indexing.live.view import LiveView
from indexing.refresh.live_space import LiveSpace


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
        raise InputError("give --item (and --unlike if needed), or --vector, or --record")
    if url is not None:
        body: dict[str, Any] = {"positive": item, "negative": unlike or []}
        if vector is not None or record is not None:
            body = {"vector": _numbers(vector)} if vector is not None else {"record": parsed_record(record or "")}
        body |= {"k": k} if filter_ is None else {"k": k, "filter": parsed_filter(filter_)}
        emit_body(ask(url, space, "search", body), json)
        return
    with opened(space) as (settings, database, found):
        view = LiveSpace(database, settings.generations, found.name).current()
        predicate = parsed_predicate(filter_, view.presets.segments)
        request = Request(source="search", k=k, predicate=predicate)
        checked_k(k, settings)
        if vector is not None or record is not None:
            request = replace(request, vector=_vector(view, vector, record))
        else:
            liked, unliked = ([check_id(id_, ("item",)) for id_ in each or ()] for each in (item, unlike))
            request = replace(request, item_ids=liked, unlike=unliked)
        [answer] = recommend(view, [request], weighting=found.weighting, now_us=0)
    emit_answer(view, answer, warnings.of_filter(view, request.predicate), json)


def _vector(view: LiveView, vector: str | None, record: str | None) -> Matrix:
    if view.generation is None:
        raise NotEnoughData("nothing is indexed yet; run `nearfield reindex`")
    if vector is not None:
        return check_vector(_numbers(vector), view.dim)
    codec = required(view.codec, f"model {view.generation.model} of space {view.space.name!r}")
    encoded: Matrix = codec.encode(from_records(codec.columns, [parsed_record(record or "")]))[0]
    return encoded


def _numbers(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InputError(f"--vector is a JSON list of finite numbers: {error}") from None
