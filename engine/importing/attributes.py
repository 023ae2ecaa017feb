"""Attributes: columns that are not fields. Each is converted to its type in the space and stored in a JSON object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import orjson
import polars as pl

from engine.catalogue.attribute_types import DESCRIPTIONS, AttributeType, Subject, majority
from engine.catalogue.number_text import currency_of
from engine.catalogue.predicate import CORE, name_clash_note
from engine.errors import InputError, NotFound
from engine.importing.cells.cells import load_json
from engine.importing.cells.reading_options import ReadingOptions
from engine.importing.cells.type_note import TypeNote
from engine.importing.cells.typed_cells import ConvertedColumn, convert, count_type_votes
from engine.importing.reports.rejects import Check
from engine.importing.sheets.column_mapping import ATTRIBUTE_PREFIX
from engine.importing.sheets.jsonl import NOT_FINITE
from engine.importing.sheets.sheet import Column
from engine.store import attribute_types, spaces
from engine.store.database.connections import Connection, Database

MAX_EXAMPLES = 3


@dataclass(frozen=True, eq=False)
class Attributes:
    """The attributes of a file: converted `columns` by field, and their types."""

    subject: Subject
    columns: Mapping[str, Column]
    types: Mapping[str, AttributeType]  # of each attribute of the file that has a type
    unfit: Mapping[str, pl.Series]  # field -> mask of cells that do not fit the type
    reading: ReadingOptions
    notes: tuple[TypeNote, ...]

    def frame_columns(self) -> dict[str, pl.Series]:
        """The converted cells, and for each attribute with unfit cells the mask as `unfit FIELD`."""
        cells = {field: column.series for field, column in self.columns.items()}
        return cells | {f"unfit {field}": mask for field, mask in self.unfit.items()}

    def checks(self) -> list[Check]:
        """Checks that reject rows for their attributes: JSON has no NaN, PostgreSQL stores no NUL in text."""
        checks = _storage_checks(self.columns)
        if self.reading.unfit == "reject":
            checks += [
                (
                    f"{field} is not {DESCRIPTIONS[self.types[field.removeprefix(ATTRIBUTE_PREFIX)]]}",
                    pl.col(f"unfit {field}"),
                )
                for field in self.unfit
            ]
        return checks

    def json_objects(self, frame: pl.DataFrame) -> list[str | None]:
        """The attributes of each row of `frame` as JSON text without nulls; None for a row without attributes."""
        return json_objects(frame, self.columns)

    def name_clash_notes(self) -> tuple[str, ...]:
        """Notes about attributes that have the name of a field."""
        names = (field.removeprefix(ATTRIBUTE_PREFIX) for field in self.columns)
        return tuple(name_clash_note(name) for name in names if name in CORE)

    def store_types(self, conn: Connection, space_key: int) -> None:
        """Store the types in the transaction that writes the attributes.

        Raises StoreBusy when another writer stored a different type after this file was read.
        """
        if self.reading.types:
            attribute_types.set_types(conn, space_key, self.reading.types, self.subject)
        attribute_types.add_consistent(conn, space_key, self.types, self.subject)


def read_attributes(
    database: Database,
    space_name: str,
    source: Mapping[str, Column],
    reading: ReadingOptions,
    subject: Subject = "item",
) -> Attributes:
    """The `attributes.NAME` fields of a file, converted to their types.

    The type of an attribute is the declared one, else the stored one, else inferred from the catalogue, else from the
    file. Raises InputError for a declared type of an attribute that the file does not have.
    """
    columns = {
        field.removeprefix(ATTRIBUTE_PREFIX): column
        for field, column in source.items()
        if field.startswith(ATTRIBUTE_PREFIX)
    }
    if unknown := sorted(reading.types.keys() - columns.keys()):
        raise InputError(
            f"--type names the attribute {unknown[0]!r}, which the file does not have; its attributes: "
            f"{', '.join(columns) or 'none'}"
        )
    known = _known_types(database, space_name, list(columns), subject) | dict(reading.types)
    converted_columns: dict[str, Column] = {}
    types: dict[str, AttributeType] = {}
    unfit: dict[str, pl.Series] = {}
    notes = []
    for name, column in columns.items():
        votes = count_type_votes(column, reading.decimal)
        file_type = majority(votes, "text" if column.is_text else "any")
        kind = known.get(name) or file_type
        if kind is not None:
            types[name] = kind
        converted = convert(column, kind or "any", reading.decimal)
        converted_columns[ATTRIBUTE_PREFIX + name] = converted.column
        if converted.unfit.any():
            unfit[ATTRIBUTE_PREFIX + name] = converted.unfit
        stored_as_text = kind == "text" and file_type and name not in reading.types and not votes.get("text")
        better_type = file_type if stored_as_text else None
        if kind is not None and (converted.unfit.any() or converted.unusual.any() or better_type not in (None, kind)):
            notes.append(_note(name, kind, column, converted, reading, better_type))
    return Attributes(subject, converted_columns, types, unfit, reading, tuple(notes))


def _known_types(database: Database, space_name: str, names: list[str], subject: Subject) -> dict[str, AttributeType]:
    """The stored types, and types inferred from stored values of attributes without a stored type."""
    with database.connect() as conn:
        try:
            space = spaces.get(conn, space_name)
        except NotFound:
            return {}
        known = attribute_types.read(conn, space.key, subject)
        new = [name for name in names if name not in known]
        return known | (attribute_types.infer_from_catalogue(conn, space.key, new, subject) if new else {})


def _note(
    name: str,
    kind: AttributeType,
    column: Column,
    converted: ConvertedColumn,
    reading: ReadingOptions,
    file_type: AttributeType | None,
) -> TypeNote:
    unusual = pl.DataFrame({"text": column.series, "value": converted.column.series}).filter(converted.unusual)
    examples = unusual.unique("text", keep="first", maintain_order=True).head(MAX_EXAMPLES)
    unfit = column.series.filter(converted.unfit).unique(maintain_order=True).head(MAX_EXAMPLES)
    currencies: set[str | None] = set()
    if converted.unusual.any():
        currencies = {currency_of(text) for text in unusual["text"].unique().to_list()}
    return TypeNote(
        name,
        kind,
        int(converted.unfit.sum()),
        tuple(str(load_json(each)) if column.is_json else str(each) for each in unfit.to_list()),
        int(converted.unusual.sum()),
        tuple((text, float(value)) for text, value in examples.iter_rows()),
        tuple(sorted(each for each in currencies if each)),
        reading.unfit == "reject",
        file_type,
    )


def _storage_checks(columns: Mapping[str, Column]) -> list[Check]:
    checks: list[Check] = []
    for field, column in columns.items():
        cell = pl.col(field)
        if column.series.dtype.is_float():
            checks.append((f"{field} is not a finite number", ~cell.is_finite()))
        elif column.series.dtype == pl.String:
            if column.is_json:
                checks.append((f"{field} is not a finite number", cell == NOT_FINITE))
            nul = cell.str.contains("\\u0000" if column.is_json else "\x00", literal=True)
            checks.append((f"{field} contains a NUL character", nul))
    return checks


def json_objects(frame: pl.DataFrame, columns: Mapping[str, Column]) -> list[str | None]:
    cells = {
        field.removeprefix(ATTRIBUTE_PREFIX): [None if cell is None else orjson.Fragment(cell) for cell in frame[field]]
        if column.is_json
        else frame[field].to_list()
        for field, column in columns.items()
    }
    if not cells:
        return [None] * frame.height
    texts: list[str | None] = []
    for row in zip(*cells.values(), strict=True):
        present = {name: cell for name, cell in zip(cells, row, strict=True) if cell is not None}
        texts.append(orjson.dumps(present).decode() if present else None)
    return texts
