"""nearfield interpolate: the records between two records."""

from __future__ import annotations

from typing import Annotated

import orjson
import typer

from api.cli.records.record_table import show_rows
from api.cli.terminal.options import Json, SpaceName, opened
from api.cli.terminal.output import emit
from api.messages.latent import responses as bodies
from engine.codec.feature_codec import FeatureCodec, required
from engine.errors import NotEnoughData, NotFound
from engine.values.features import from_records
from engine.values.ids import normalise_id
from engine.values.vectors import Matrix, check_vectors
from indexing.live.view import LiveView
from indexing.refresh.live_space import LiveSpace

POINT = "an item id, a record as a JSON object, or a vector as a JSON list"


def add_to(app: typer.Typer) -> None:
    app.command()(interpolate)


def interpolate(
    start: Annotated[str, typer.Argument(help=f"First point: {POINT}.", show_default=False)],
    end: Annotated[str, typer.Argument(help=f"Last point: {POINT}.", show_default=False)],
    steps: Annotated[int, typer.Option(min=2, help="Number of points, both ends included.")] = 5,
    nearest: Annotated[int, typer.Option(min=0, help="Number of nearest items to name at each point.")] = 1,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Show the records between two records.

    Decodes points on the line between two vectors, and names the stored items that are nearest to each point. Needs a
    published model of feature records.

    Example: `nearfield interpolate r1 r2 --space hall --steps 4`
    """
    with opened(space) as (settings, database, found):
        view = LiveSpace(database, settings.generations, found.name).current()
        if view.generation is None:
            raise NotEnoughData("nothing is indexed yet; run `nearfield reindex`")
        codec = required(view.codec, f"model {view.generation.model} of space {found.name!r}")
        body = bodies.interpolation_body(
            view, codec, _point(view, codec, start), _point(view, codec, end), steps, nearest
        )
    rows = [
        {
            "step": at,
            "nearest": ", ".join(f"{each['item_id']} ({each['distance']:.3g})" for each in step["nearest"]),
            **step["record"],
        }
        for at, step in enumerate(body["steps"])
    ]
    emit(json, body | {"model": view.generation.model}, lambda: show_rows(rows))


def _point(view: LiveView, codec: FeatureCodec, text: str) -> Matrix:
    """(dim,) of an item id, a JSON object or a JSON list. An id that looks like JSON is read as an id first."""
    row = view.items.row(normalise_id(text))
    if row is not None:
        vector = view.vector(row)
        if vector is None:
            raise NotFound(f"item {text!r} has no vector")
        return vector
    try:
        point = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise NotFound(f"there is no item {text!r}") from None
    if isinstance(point, dict):
        return codec.encode(from_records(codec.columns, [point]))[0]
    if isinstance(point, list):
        return check_vectors([point], codec.dim, ("vector",))[0]
    raise NotFound(f"there is no item {text!r}; expected {POINT}")
