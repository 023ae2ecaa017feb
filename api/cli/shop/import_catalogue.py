"""nearfield import events, nearfield import items and nearfield import users."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from api.cli.records import import_features
from api.cli.terminal.options import Json, SpaceName, pairs, settings
from api.cli.terminal.output import emit, out, progress, table
from engine.catalogue.attribute_types import check_type
from engine.catalogue.number_text import Decimal
from engine.errors import InputError
from engine.importing import (
    CatalogueReplacement,
    ImportSummary,
    ReadingOptions,
    import_events,
    import_items,
    import_users,
)
from engine.importing.catalogue_replacement import MAX_HIDDEN_SHARE
from engine.importing.cells.reading_options import UnfitAction
from engine.store import spaces
from engine.store.database.connections import open_database

import_app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
File = Annotated[Path, typer.Argument(help="File to read: .csv, .tsv, .parquet or .jsonl", show_default=False)]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        help="Column of a field, as user_id=CustomerID, if the names differ. Repeatable.",
        show_default=False,
    ),
]
Constants = Annotated[
    list[str] | None,
    typer.Option("--set", help="Value of a field for all rows, as kind=purchase. Repeatable.", show_default=False),
]
Rejects = Annotated[
    Path | None,
    typer.Option(help="Write the rejected rows to this file, each with its reason.", show_default=False),
]
Types = Annotated[
    list[str] | None,
    typer.Option(
        "--type",
        help="Type of an attribute from now on, as price=number: number, text, boolean, time, list or any. Repeatable. "
        "Default: the type that the space already has, or else the type of most cells.",
        show_default=False,
    ),
]
UnfitCells = Annotated[
    str,
    typer.Option(
        "--unfit", help="A cell that does not have the type of its attribute: leave (skip it) or reject (its row)."
    ),
]
DecimalSign = Annotated[
    str | None,
    typer.Option(
        "--decimal",
        help="Decimal sign of ambiguous numbers such as 12,500: comma or point. Default: they are not read.",
        show_default=False,
    ),
]
MissingIds = Annotated[
    list[str] | None,
    typer.Option("--missing-id", help="Text that means that there is no id, as -1. Repeatable.", show_default=False),
]
DateFormat = Annotated[
    str | None,
    typer.Option(
        "--date-format",
        help="Format of occurred_at for strptime, as '%d.%m.%Y %H:%M'. Default: ISO 8601, or numbers of one unit: "
        "seconds, milliseconds, microseconds or nanoseconds since 1970, days as 20261101, or Excel days.",
        show_default=False,
    ),
]
Separators = Annotated[
    list[str] | None,
    typer.Option(
        "--category-separator",
        help="Separator of the categories in a cell, instead of |. Repeatable. `Home > Lamps|Sale` is two categories, "
        "`Home > Lamps` and `Sale`; with > and | given, three.",
        show_default=False,
    ),
]
Replace = Annotated[
    bool,
    typer.Option(
        "--replace",
        help="The file is the whole catalogue: hide items that are not in it, until a later file has them again.",
    ),
]
MostGone = Annotated[
    float, typer.Option("--most-gone", help="With --replace: refuse to hide more than this share of the items.")
]
Yes = Annotated[bool, typer.Option("--yes", help="With --replace: hide any number of items.")]
Importer = Callable[..., ImportSummary]


def add_to(app: typer.Typer) -> None:
    import_features.add_to(import_app)
    app.add_typer(import_app, name="import", help="Import events, items, users, features, vectors.")


@import_app.command()
def events(
    file: File,
    column: Columns = None,
    constant: Constants = None,
    rejects: Rejects = None,
    type_: Types = None,
    unfit: UnfitCells = "leave",
    decimal: DecimalSign = None,
    missing_id: MissingIds = None,
    date_format: DateFormat = None,
    separator: Separators = None,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Import events: what users did to items.

    Columns: user_id, item_id and occurred_at; optional are kind, value, event_id, order_id and session_id, and title,
    categories and attributes.NAME of the item. A row without a user_id needs a session_id. Categories in one cell are
    separated by |. All rows of the file are written in one transaction. Prints how many rows were written, were there
    before, or were rejected, with reasons. Importing a file again writes nothing new.

    Example: `nearfield import events sales.csv --column user_id=CustomerID --set kind=purchase`
    """
    reading = _reading_options(type_, unfit, decimal, missing_id, date_format=date_format, separators=separator)
    _run(import_events, file, space, json, column, constant, rejects=rejects, reading=reading)


@import_app.command()
def items(
    file: File,
    column: Columns = None,
    constant: Constants = None,
    rejects: Rejects = None,
    type_: Types = None,
    unfit: UnfitCells = "leave",
    decimal: DecimalSign = None,
    missing_id: MissingIds = None,
    separator: Separators = None,
    replace: Replace = False,
    most_gone: MostGone = MAX_HIDDEN_SHARE,
    yes: Yes = False,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Import items: the catalogue.

    Columns: item_id; optional are title, categories and available. Every other column becomes an attribute for filters;
    an attribute whose name is a field's, such as created_at, is attributes.created_at. Categories in one cell are
    separated by |. A known item is changed.

    Example: `nearfield import items catalogue.csv --type price=number --replace`
    """
    reading = _reading_options(type_, unfit, decimal, missing_id, separators=separator)
    if (yes or most_gone != MAX_HIDDEN_SHARE) and not replace:
        raise InputError("--yes and --most-gone go with --replace")
    replacement = CatalogueReplacement(most_gone, yes) if replace else None
    _run(import_items, file, space, json, column, constant, rejects=rejects, reading=reading, replacement=replacement)


@import_app.command()
def users(
    file: File,
    column: Columns = None,
    constant: Constants = None,
    rejects: Rejects = None,
    type_: Types = None,
    unfit: UnfitCells = "leave",
    decimal: DecimalSign = None,
    missing_id: MissingIds = None,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Import users and their attributes.

    Columns: user_id; every other column becomes an attribute. A known user is changed.

    Example: `nearfield import users customers.parquet --column user_id=CustomerID`
    """
    reading = _reading_options(type_, unfit, decimal, missing_id)
    _run(import_users, file, space, json, column, constant, rejects=rejects, reading=reading)


def _reading_options(
    types: list[str] | None,
    unfit: str,
    decimal: str | None,
    missing_ids: list[str] | None,
    *,
    date_format: str | None = None,
    separators: list[str] | None = None,
) -> ReadingOptions:
    declared = {name: check_type(kind) for name, kind in pairs(types, "--type").items()}
    choices = cast(UnfitAction, unfit), cast(Decimal | None, decimal)  # ReadingOptions checks both
    return ReadingOptions(
        declared, *choices, date_format, separators=tuple(separators or ()), missing_ids=tuple(missing_ids or ())
    )


def _run(
    importer: Importer,
    file: Path,
    space: str,
    json: bool,
    column: list[str] | None,
    constant: list[str] | None,
    *,
    rejects: Path | None,
    **options: Any,
) -> None:
    columns, constants = pairs(column, "--column"), pairs(constant, "--set")
    spaces.check_name(space)  # before the file is read
    options |= {"columns": columns, "constants": constants, "rejects": rejects}
    with open_database(settings()) as database, progress() as report:
        summary = importer(database, space, file, progress=report, **options)
    emit(json, summary.to_json(), lambda: _print_summary(summary, rejects))


def _print_summary(summary: ImportSummary, rejects: Path | None) -> None:
    out.print(
        f"read {summary.read:,} rows in {summary.seconds:.1f} s: {summary.written:,} written, "
        f"{summary.duplicates:,} duplicates, {sum(summary.rejected.values()):,} rejected"
    )
    for kind in summary.kinds or ():
        if kind.word != kind.taken_as:
            out.print(str(kind), markup=False, soft_wrap=True)
    if summary.rejected:
        table(("rows", "rejected because"), [(count, reason) for reason, count in summary.rejected.items()])
        for sample in summary.samples:
            cells = ", ".join(f"{name}={'' if cell is None else cell}" for name, cell in sample.values.items())
            out.print(f"  row {sample.row}, {sample.reason}: {cells}", markup=False, soft_wrap=True)
        if rejects is not None:
            out.print(f"every rejected row is in {rejects}", markup=False)
    for line in summary.notes:
        out.print(line, markup=False, soft_wrap=True)
    for note in summary.attributes:
        for line in note.lines():
            out.print(line, markup=False, soft_wrap=True)
