"""nearfield map: the vectors of a model in two dimensions, as a PNG and as a web page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from api.cli.records.record_sources import Model, model_version
from api.cli.terminal.options import Json, Seed, SpaceName, opened
from api.cli.terminal.output import emit, out, progress
from api.maps.page import html_page
from api.maps.picture import write_png
from engine.codec.feature_codec import FeatureCodec
from engine.errors import InputError, NotEnoughData
from engine.latent_analysis.anomalies import anomalies
from engine.latent_analysis.latent_map import MOST, latent_map, placed
from engine.latent_space.space import LatentSpace
from engine.store import features, items, model_reports, models
from engine.store.database.connections import Connection
from engine.store.spaces import Space
from engine.values.features import align_columns

COLOURS = {"label": "label", "category": "label", "score": "anomaly score"}


def add_to(app: typer.Typer) -> None:
    app.command(name="map")(draw_map)


def draw_map(
    file: Annotated[
        list[Path] | None,
        typer.Option(
            "--out",
            help="A .png, .html or .json file to write. Repeatable. Default: map.png and map.html.",
            show_default=False,
        ),
    ] = None,
    method: Annotated[str, typer.Option(help="Projection to two dimensions: pca, tsne or umap.")] = "pca",
    colour: Annotated[
        str | None,
        typer.Option(
            help="What colours the points of a PNG: label, category, score or attributes.NAME.", show_default=False
        ),
    ] = None,
    n: Annotated[int, typer.Option("--n", min=10, help="Number of points at most.")] = MOST,
    seed: Seed = 0,
    model: Model = None,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Draw the items of a model as a map.

    Similar items are near each other. The page shows titles, labels and anomaly scores. The map is also stored with the
    model, where `GET /v1/SPACE/map` reads it.

    Example: `nearfield map --method umap --colour category --out map.png`
    """
    out_files = file or [Path("map.png"), Path("map.html")]
    wrong = [each for each in out_files if each.suffix not in (".png", ".html", ".json")]
    if wrong:
        raise InputError(f"expected a .png, .html or .json file to write, got {wrong[0].name!r}")
    if colour is not None and colour not in COLOURS and not colour.startswith("attributes."):
        raise InputError(f"expected a colour of label, category, score or attributes.NAME, got {colour!r}")
    with opened(space) as (_, database, found), progress() as report:
        report("read", 0.0)
        with database.begin() as conn:
            version = model_version(conn, found, model)
            latent = models.load_space(conn, found.key, version)
            embedder = models.get(conn, found.key, version).embedder
            if len(latent.items) == 0:
                raise NotEnoughData(f"model {version} has no vectors")
            details = _labels_and_scores(conn, found, latent, colour)
        report(method, 0.2)
        drawn = latent_map(placed(embedder, latent), method, n=n, seed=seed, **details) | {"model": version}
        with database.begin() as conn:
            model_reports.set_map(conn, found.key, version, method, drawn)
    coloured_by = None if colour is None else COLOURS.get(colour, "label")
    for each in out_files:
        if each.suffix == ".png":
            write_png(drawn, each, coloured_by)
        else:
            each.write_bytes(html_page(drawn).encode() if each.suffix == ".html" else orjson.dumps(drawn))
    names = [str(each) for each in out_files]
    body = {"model": version, "method": method, "points": len(drawn["ids"]), "files": names}
    emit(json, body, lambda: out.print(f"{len(drawn['ids']):,} points in {', '.join(names)}", markup=False))


def _labels_and_scores(conn: Connection, space: Space, latent: LatentSpace, colour: str | None) -> dict[str, Any]:
    """Label, title and anomaly score of each item, and the anomaly threshold."""
    rows = items.read_catalogue(conn, space.key).to_pylist()
    titles = {row["item_id"]: row["title"] for row in rows}
    if colour is not None and colour.startswith("attributes."):
        name = colour.removeprefix("attributes.")
        values = {row["item_id"]: orjson.loads(row["attributes"] or "{}").get(name) for row in rows}
        labels = {id_: None if value is None else str(value) for id_, value in values.items()}
        if not any(labels.values()):
            raise InputError(f"no item has an attribute {name!r}")
    else:
        labels = {row["item_id"]: (row["categories"] or [None])[0] for row in rows}
    scores, threshold = _anomaly_scores(conn, space, latent)
    return {"labels": labels, "titles": titles, "scores": scores, "threshold": threshold}


def _anomaly_scores(conn: Connection, space: Space, latent: LatentSpace) -> tuple[dict[str, float], float | None]:
    codec = latent.codec
    if not isinstance(codec, FeatureCodec) or features.schema(conn, space.key) is None:
        return {}, None
    stored = features.read(conn, space.key)
    judged = anomalies(codec, align_columns(codec.columns, stored.columns, stored.values, unseen="keep"))
    return dict(zip(stored.ids.ids, judged.scores.tolist(), strict=True)), judged.threshold
