"""nearfield import events|items|users FILE."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from api.cli.options import Json, SpaceName, pairs, settings
from api.cli.output import emit, out, progress, table
from engine.importing import ImportSummary, import_events, import_items, import_users
from engine.store import spaces
from engine.store.database import open_database

app = typer.Typer(no_args_is_help=True)
File = Annotated[Path, typer.Argument(help=".csv, .tsv, .parquet or .jsonl", show_default=False)]
Columns = Annotated[
    list[str] | None, typer.Option("--column", help="Which column a field is in, as user_id=CustomerID; repeatable.")
]
Constants = Annotated[
    list[str] | None, typer.Option("--set", help="One value for every row, as kind=purchase; repeatable.")
]
Rejects = Annotated[Path | None, typer.Option(help="Write rejected rows here, each with its reason.")]
Importer = Callable[..., ImportSummary]


@app.command()
def events(
    file: File,
    column: Columns = None,
    constant: Constants = None,
    rejects: Rejects = None,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Events: user_id, item_id, kind, value, occurred_at, event_id; title, categories, attributes.NAME of the item."""
    _run(import_events, file, column, constant, rejects, space, json)


@app.command()
def items(
    file: File,
    column: Columns = None,
    constant: Constants = None,
    rejects: Rejects = None,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Items: item_id, title, categories, available; every other column becomes an attribute."""
    _run(import_items, file, column, constant, rejects, space, json)


@app.command()
def users(
    file: File,
    column: Columns = None,
    constant: Constants = None,
    rejects: Rejects = None,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Users: user_id; every other column becomes an attribute."""
    _run(import_users, file, column, constant, rejects, space, json)


def _run(
    importer: Importer,
    file: Path,
    column: list[str] | None,
    constant: list[str] | None,
    rejects: Path | None,
    space: str,
    json: bool,
) -> None:
    columns, constants = pairs(column, "--column"), pairs(constant, "--set")
    spaces.check_name(space)  # before a file is read for nothing
    with open_database(settings()) as database, progress() as tell:
        summary = importer(database, space, file, columns=columns, constants=constants, rejects=rejects, progress=tell)
    emit(json, summary.to_json(), lambda: _show(summary, rejects))


def _show(summary: ImportSummary, rejects: Path | None) -> None:
    out.print(
        f"read {summary.read:,} rows in {summary.seconds:.1f} s: {summary.written:,} written, "
        f"{summary.duplicates:,} duplicates, {sum(summary.rejected.values()):,} rejected"
    )
    for word in summary.words or ():
        if word.word != word.taken_as:
            out.print(str(word), markup=False, soft_wrap=True)
    if summary.rejected:
        table(("rows", "rejected because"), [(count, reason) for reason, count in summary.rejected.items()])
        for sample in summary.samples:
            cells = ", ".join(f"{name}={'' if cell is None else cell}" for name, cell in sample.values.items())
            out.print(f"  row {sample.row}, {sample.reason}: {cells}", markup=False, soft_wrap=True)
        if rejects is not None:
            out.print(f"every rejected row is in {rejects}", markup=False)
