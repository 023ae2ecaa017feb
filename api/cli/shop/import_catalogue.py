"""nearfield import events|items|users FILE."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from api.cli.terminal.options import Json, SpaceName, pairs, settings
from api.cli.terminal.output import emit, out, progress, table
from engine.catalogue.attribute_types import check_type
from engine.catalogue.number_text import Decimal
from engine.errors import InputError
from engine.importing import ImportSummary, Reading, Replacing, import_events, import_items, import_users
from engine.importing.catalogue_replacement import MOST
from engine.importing.cells.reading_options import Unfit
from engine.store import spaces
from engine.store.database.connections import open_database

app = typer.Typer(no_args_is_help=True)
File = Annotated[Path, typer.Argument(help=".csv, .tsv, .parquet or .jsonl", show_default=False)]
Columns = Annotated[
    list[str] | None, typer.Option("--column", help="Which column a field is in, as user_id=CustomerID; repeatable.")
]
Constants = Annotated[
    list[str] | None, typer.Option("--set", help="One value for every row, as kind=purchase; repeatable.")
]
Rejects = Annotated[Path | None, typer.Option(help="Write rejected rows here, each with its reason.")]
Types = Annotated[
    list[str] | None,
    typer.Option(
        "--type",
        help="The type of an attribute from now on, as price=number: number, text, boolean, time, list or any. Without "
        "one what the space knows, else what most cells of the file are; repeatable.",
    ),
]
UnfitCells = Annotated[
    str,
    typer.Option("--unfit", help="A cell that is not of its type: leave (it out) or reject (its row)."),
]
DecimalSign = Annotated[
    str | None, typer.Option("--decimal", help="comma or point: what 12,500 and 1.234 mean.", show_default=False)
]
MissingIds = Annotated[
    list[str] | None, typer.Option("--missing-id", help="An id that stands for none, as -1; repeatable.")
]
DateFormat = Annotated[
    str | None,
    typer.Option(
        "--date-format",
        help="How occurred_at is written, as strptime has it: '%d.%m.%Y %H:%M'. Else it is ISO 8601, or a number of "
        "1990 to next year, all rows alike: seconds, milliseconds, microseconds or nanoseconds since 1970, days as "
        "20261101, or days of Excel.",
        show_default=False,
    ),
]
Separators = Annotated[
    list[str] | None,
    typer.Option(
        "--category-separator",
        help="What stands between the categories of a cell in place of |, and within those of a list; repeatable. "
        "`Home > Lamps|Sale` is the two categories `Home > Lamps` and `Sale`; with > and | given, three.",
        show_default=False,
    ),
]
Replace = Annotated[
    bool,
    typer.Option(
        "--replace",
        help="The file is the whole catalogue: what it has no more is hidden, until a later file has it again.",
    ),
]
MostGone = Annotated[
    float, typer.Option("--most-gone", help="With --replace: refuse when more than this share would be hidden.")
]
Yes = Annotated[bool, typer.Option("--yes", help="With --replace: hide them however many they are.")]
Importer = Callable[..., ImportSummary]


@app.command()
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
    """Events: user_id, item_id, kind, value, occurred_at, event_id; title, categories, attributes.NAME of the item.

    Categories in one cell stand between |.
    """
    reading = _reading(type_, unfit, decimal, missing_id, date_format=date_format, separators=separator)
    _run(import_events, file, space, json, column, constant, rejects=rejects, reading=reading)


@app.command()
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
    most_gone: MostGone = MOST,
    yes: Yes = False,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Items: item_id, title, categories, available; every other column becomes an attribute.

    Categories in one cell stand between |. An attribute called like a field, as created_at, is attributes.created_at.
    """
    reading = _reading(type_, unfit, decimal, missing_id, separators=separator)
    if (yes or most_gone != MOST) and not replace:
        raise InputError("--yes and --most-gone go with --replace")
    replacing = Replacing(most_gone, yes) if replace else None
    _run(import_items, file, space, json, column, constant, rejects=rejects, reading=reading, replacing=replacing)


@app.command()
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
    """Users: user_id; every other column becomes an attribute."""
    reading = _reading(type_, unfit, decimal, missing_id)
    _run(import_users, file, space, json, column, constant, rejects=rejects, reading=reading)


def _reading(
    types: list[str] | None,
    unfit: str,
    decimal: str | None,
    missing_ids: list[str] | None,
    *,
    date_format: str | None = None,
    separators: list[str] | None = None,
) -> Reading:
    declared = {name: check_type(kind) for name, kind in pairs(types, "--type").items()}
    words = cast(Unfit, unfit), cast(Decimal | None, decimal)  # Reading refuses any other
    return Reading(
        declared, *words, date_format, separators=tuple(separators or ()), missing_ids=tuple(missing_ids or ())
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
    spaces.check_name(space)  # before a file is read for nothing
    options |= {"columns": columns, "constants": constants, "rejects": rejects}
    with open_database(settings()) as database, progress() as tell:
        summary = importer(database, space, file, progress=tell, **options)
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
    for line in summary.notes:
        out.print(line, markup=False, soft_wrap=True)
    for note in summary.attributes:
        for line in note.lines():
            out.print(line, markup=False, soft_wrap=True)
