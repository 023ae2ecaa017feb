"""nearfield import features and nearfield import vectors."""

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

Id = Annotated[
    str | None,
    typer.Option("--id", help="Column, or array, of ids. Default: the row number, from 0.", show_default=False),
]
Label = Annotated[
    str | None,
    typer.Option("--label", help="Column, or array, of labels. Labels are not learnt from.", show_default=False),
]
Categorical = Annotated[
    list[str] | None,
    typer.Option(
        "--categorical", help="Column of numbers that are names, such as codes. Repeatable.", show_default=False
    ),
]
Ignore = Annotated[list[str] | None, typer.Option("--ignore", help="Column to skip. Repeatable.", show_default=False)]
Array = Annotated[
    str | None, typer.Option("--array", help="Name of the array of rows in an NPZ file.", show_default=False)
]


def add_to(app: typer.Typer) -> None:
    app.command()(features)
    app.command()(vectors)


def features(
    file: Annotated[
        Path, typer.Argument(help="File to read: .csv, .tsv, .parquet, .jsonl, .npy or .npz", show_default=False)
    ],
    id_column: Id = None,
    label: Label = None,
    categorical: Categorical = None,
    ignore: Ignore = None,
    array: Array = None,
    replace: Annotated[bool, typer.Option("--replace", help="First delete all records of the space.")] = False,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Import records of numbers and categories.

    One row is the record of one item; a record whose id is known is replaced. The space is created if needed. The
    command prints how many rows were written and why others were left out.

    Example: `nearfield import features machines.csv --space hall --id id --label fault`
    """
    layout = Layout(id_column, (), label, categorical or (), ignore or (), array)
    with open_database(settings()) as database, progress() as report:
        summary = import_features(database, space, file, layout, replace=replace, progress=report)
    emit(json, summary.to_json(), lambda: _show(summary, "records", "next: nearfield reindex"))


def vectors(
    file: Annotated[
        Path,
        typer.Argument(
            help="File to read: .npy, .npz, .parquet, .csv, .jsonl, or .bin, .txt, .vec of word2vec",
            show_default=False,
        ),
    ],
    id_column: Id = None,
    label: Label = None,
    ignore: Ignore = None,
    array: Array = None,
    publish: Annotated[bool, typer.Option(help="Index and publish the vectors at once.")] = True,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Import vectors of another model.

    One vector per item, compared by cosine. The vectors become a model version of their own, which is indexed and
    published. Use a space of their own if the shop already has a model.

    Example: `nearfield import vectors embeddings.npz --space images --id names`
    """
    from indexing.building.build import build_generation
    from indexing.building.publish import publish as publish_generation

    layout = Layout(id_column, (), label, (), ignore or (), array)
    found = settings()
    generation = None
    with open_database(found) as database, progress() as report:
        if publish:
            _check_replaces_no_model(database, space)
        summary, record = import_vectors(database, space, file, layout, progress=report)
        if publish:
            with database.connect() as conn:
                target = spaces.get(conn, space)
            generation = build_generation(database, target, record.version, found.generations, progress=report)
            publish_generation(database, target, generation, found.generations)
    body = summary.to_json() | {"model": record.version, "dim": record.dim, "generation": generation}
    next_step = f"{generation} is served" if generation else "next: nearfield index"
    noun = f"vectors of {record.dim} dimensions"
    emit(json, body, lambda: _show(summary, noun, f"model {record.version}; {next_step}"))


def _check_replaces_no_model(database: Database, name: str) -> None:
    """Conflict if the space serves a model that nearfield trained: the imported vectors would replace it."""
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


def _show(summary: ImportSummary, noun: str, last_line: str) -> None:
    rejected: Mapping[str, int] = summary.rejected
    out.print(
        f"read {summary.read:,} rows in {summary.seconds:.1f} s: {summary.written:,} {noun} written, "
        f"{summary.duplicates:,} duplicates, {sum(rejected.values()):,} left out"
    )
    for reason, count in rejected.items():
        out.print(f"  {count:,} left out: {reason}", markup=False)
    for note in summary.notes:
        out.print(note, markup=False)
    out.print(last_line, markup=False)
