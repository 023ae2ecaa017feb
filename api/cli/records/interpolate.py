"""interpolate and sample: the way between two records, and records that could be."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
import typer

from api.cli.records.encode import show_rows
from api.cli.records.record_sources import Model, Out, model_codec
from api.cli.terminal.options import Json, Seed, SpaceName, opened
from api.cli.terminal.output import emit
from api.cli.terminal.table_files import write_rows
from api.messages import latent_responses as bodies
from engine.codec.feature_codec import FeatureCodec, required
from engine.errors import NotEnoughData, NotFound
from engine.latent_analysis import anomalies
from engine.values.features import from_records
from engine.values.ids import normalise_id
from engine.values.vectors import Matrix, check_vectors
from indexing.live.view import LiveView
from indexing.refresh.live_space import Live

POINT = "an item id, a record as a JSON object, or a vector as a JSON list"


def add_to(app: typer.Typer) -> None:
    app.command()(interpolate)
    app.command()(sample)


def interpolate(
    start: Annotated[str, typer.Argument(help=f"From: {POINT}.", show_default=False)],
    end: Annotated[str, typer.Argument(help=f"To: {POINT}.", show_default=False)],
    steps: Annotated[int, typer.Option(min=2, help="Points on the way, ends included.")] = 5,
    nearest: Annotated[int, typer.Option(min=0, help="Real items to name at each point.")] = 1,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """The way from one record to another, with the real items nearest to it."""
    with opened(space) as (settings, database, found):
        view = Live(database, settings.generations, found.name).current()
        if view.generation is None:
            raise NotEnoughData("nothing is indexed yet; run `nearfield reindex`")
        codec = required(view.codec, f"model {view.generation.model} of space {found.name!r}")
        body = bodies.path(view, codec, _point(view, codec, start), _point(view, codec, end), steps, nearest)
    rows = [
        {
            "step": at,
            "nearest": ", ".join(f"{each['item_id']} ({each['distance']:.3g})" for each in step["nearest"]),
            **step["record"],
        }
        for at, step in enumerate(body["steps"])
    ]
    emit(json, body | {"model": view.generation.model}, lambda: show_rows(rows))


def sample(
    n: Annotated[int, typer.Option("--n", min=1, max=1_000_000, help="How many records.")] = 5,
    seed: Seed = 0,
    out_file: Out = None,
    model: Model = None,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """New records as the model believes them to be; of vae, vqvae and aae."""
    with opened(space) as (_, database, found):
        version, codec = model_codec(database, found, model)
    vectors, _ = anomalies.sample(codec, n, seed=seed)
    records = bodies.decoded(codec, vectors)["records"]
    body: dict[str, Any] = {"vectors": vectors, "records": records, "seed": seed, "model": version}
    if out_file is not None:
        write_rows(out_file, records)
        body = {"rows": n, "out": str(out_file), "seed": seed, "model": version}
    emit(json, body, lambda: show_rows(records))


def _point(view: LiveView, codec: FeatureCodec, text: str) -> Matrix:
    """(dim,) of an item id, a JSON object or a JSON list; an item whose id looks like JSON is an item."""
    row = view.items.row(normalise_id(text))
    if row is not None:
        vector = view.vector(row)
        if vector is None:
            raise NotFound(f"item {text!r} has no vector")
        return vector
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise NotFound(f"there is no item {text!r}") from None
    if isinstance(found, dict):
        return codec.encode(from_records(codec.columns, [found]))[0]
    if isinstance(found, list):
        return check_vectors([found], codec.dim, ("vector",))[0]
    raise NotFound(f"there is no item {text!r}; expected {POINT}")
