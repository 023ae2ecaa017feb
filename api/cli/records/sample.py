"""nearfield sample: new records from the distribution that a model learnt."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from api.cli.records.record_sources import Model, Out, model_codec
from api.cli.records.record_table import show_rows
from api.cli.terminal.options import Json, Seed, SpaceName, opened
from api.cli.terminal.output import emit
from api.cli.terminal.table_files import write_rows
from api.messages.latent import responses as bodies
from engine.latent_analysis import sampling


def add_to(app: typer.Typer) -> None:
    app.command()(sample)


def sample(
    n: Annotated[int, typer.Option("--n", min=1, max=1_000_000, help="Number of records.")] = 5,
    seed: Seed = 0,
    out_file: Out = None,
    model: Model = None,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Draw new records that a model finds likely.

    Needs a model of vae, vqvae or aae; other embedders learn no distribution.

    Example: `nearfield sample --space hall --n 1000 --out made.parquet`
    """
    with opened(space) as (_, database, found):
        version, codec = model_codec(database, found, model)
    vectors, _ = sampling.sample(codec, n, seed=seed)
    records = bodies.decode_body(codec, vectors)["records"]
    body: dict[str, Any] = {"vectors": vectors, "records": records, "seed": seed, "model": version}
    if out_file is not None:
        write_rows(out_file, records)
        body = {"rows": n, "out": str(out_file), "seed": seed, "model": version}
    emit(json, body, lambda: show_rows(records))
