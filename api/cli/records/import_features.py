"""nearfield import features|vectors FILE."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from api.cli.terminal.options import Json, SpaceName, settings
from api.cli.terminal.output import emit, out, progress
from engine.errors import Conflict
from engine.importing import ImportSummary, Layout, import_features, import_vectors
from engine.importing.vectors import EMBEDDER
from engine.store import generations, models, spaces
from engine.store.database.connections import Database, open_database

Id = Annotated[str | None, typer.Option("--id", help="The column, or array, of ids; the row number if left away.")]
Label = Annotated[
    str | None, typer.Option("--label", help="The column, or array, of labels; kept apart from what is learnt from.")
]
Categorical = Annotated[
    list[str] | None, typer.Option("--categorical", help="A column of numbers that are names; repeatable.")
]
Ignore = Annotated[list[str] | None, typer.Option("--ignore", help="A column to leave out; repeatable.")]
Array = Annotated[str | None, typer.Option("--array", help="Which array of an NPZ holds the rows.")]


def add_to(app: typer.Typer) -> None:
    app.command()(features)
    app.command()(vectors)


def features(
    file: Annotated[Path, typer.Argument(help=".csv, .tsv, .parquet, .jsonl, .npy or .npz", show_default=False)],
    id_column: Id = None,
    label: Label = None,
    categorical: Categorical = None,
    ignore: Ignore = None,
    array: Array = None,
    replace: Annotated[bool, typer.Option("--replace", help="Forget every record that was there before.")] = False,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Records of numbers and categories, one per item; known ids are replaced."""
    layout = Layout(id_column, (), label, categorical or (), ignore or (), array)
    with open_database(settings()) as database, progress() as tell:
        summary = import_features(database, space, file, layout, replace=replace, progress=tell)
    emit(json, summary.to_json(), lambda: _show(summary, "records", "nearfield reindex"))


def vectors(
    file: Annotated[
        Path,
        typer.Argument(help=".npy, .npz, .parquet, .csv, .jsonl, or word2vec's .bin, .txt, .vec", show_default=False),
    ],
    id_column: Id = None,
    label: Label = None,
    ignore: Ignore = None,
    array: Array = None,
    publish: Annotated[bool, typer.Option(help="Index and serve them at once.")] = True,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Embeddings made elsewhere: one vector per item, a model version of their own, compared by cosine."""
    from indexing.building.build import build_generation
    from indexing.building.publish import publish as serve

    layout = Layout(id_column, (), label, (), ignore or (), array)
    found = settings()
    generation = None
    with open_database(found) as database, progress() as tell:
        if publish:
            _check_own(database, space)
        summary, record = import_vectors(database, space, file, layout, progress=tell)
        if publish:
            with database.connect() as conn:
                there = spaces.get(conn, space)
            generation = build_generation(database, there, record.version, found.generations, progress=tell)
            serve(database, there, generation, found.generations)
    body = summary.to_json() | {"model": record.version, "dim": record.dim, "generation": generation}
    after = f"{generation} is served" if generation else "next: nearfield index"
    emit(json, body, lambda: _show(summary, f"vectors of {record.dim} dimensions", f"model {record.version}; {after}"))


def _check_own(database: Database, name: str) -> None:
    """Conflict when the space serves what was learnt here: vectors from elsewhere would take its place."""
    with database.connect() as conn:
        if name not in {space.name for space in spaces.list_all(conn)}:
            return
        space = spaces.get(conn, name)
        active = generations.active(conn, space.key)
        embedder = None if active is None else models.get(conn, space.key, active.model).embedder
    if embedder not in (None, EMBEDDER):
        raise Conflict(
            f"space {name!r} serves a {embedder} model that these vectors would replace; give them a space of their "
            "own with --space, or keep them unserved with --no-publish"
        )


def _show(summary: ImportSummary, what: str, after: str) -> None:
    rejected: Mapping[str, int] = summary.rejected
    out.print(
        f"read {summary.read:,} rows in {summary.seconds:.1f} s: {summary.written:,} {what} written, "
        f"{summary.duplicates:,} duplicates, {sum(rejected.values()):,} left out"
    )
    for reason, count in rejected.items():
        out.print(f"  {count:,} left out: {reason}", markup=False)
    for note in summary.notes:
        out.print(note, markup=False)
    out.print(after if after.startswith("model") else f"next: {after}", markup=False)
