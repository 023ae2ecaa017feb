"""Attributes: the columns that no field takes, each as its type in the space, as one JSON object per row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import orjson
import polars as pl

from engine.catalogue.attribute_types import DESCRIPTIONS, AttributeType, Subject, majority
from engine.catalogue.number_text import currency_of
from engine.catalogue.predicate import CORE, name_clash_note
from engine.errors import InputError, NotFound
from engine.importing.cells.cells import load
from engine.importing.cells.reading_options import Reading
from engine.importing.cells.type_note import TypeNote
from engine.importing.cells.typed_cells import Fitted, fit, votes
from engine.importing.reports.rejects import Check
from engine.importing.sheets.column_mapping import ATTRIBUTE
from engine.importing.sheets.jsonl import NOT_FINITE
from engine.importing.sheets.sheet import Column
from engine.store import attribute_types, spaces
from engine.store.database.connections import Connection, Database

SHOWN = 3


@dataclass(frozen=True, eq=False)
class Attributes:
    """The attributes of a file, `columns` by field, and the types that go with them into the space."""

    subject: Subject
    columns: Mapping[str, Column]
    types: Mapping[str, AttributeType]  # of every attribute of the file that has one
    unfit: Mapping[str, pl.Series]
    reading: Reading
    notes: tuple[TypeNote, ...]

    def frame_columns(self) -> dict[str, pl.Series]:
        """The cells, and for each attribute with cells that do not fit which these are."""
        cells = {field: column.series for field, column in self.columns.items()}
        return cells | {f"unfit {field}": mask for field, mask in self.unfit.items()}

    def checks(self) -> list[Check]:
        """Why a row is rejected for its attributes: JSON has no NaN, PostgreSQL's text no NUL."""
        found = _checks(self.columns)
        if self.reading.unfit == "reject":
            found += [
                (f"{field} is not {DESCRIPTIONS[self.types[field.removeprefix(ATTRIBUTE)]]}", pl.col(f"unfit {field}"))
                for field in self.unfit
            ]
        return found

    def json_objects(self, frame: pl.DataFrame) -> list[str | None]:
        """The attributes of each row of `frame` as JSON text; nulls are left out, a row without any is None."""
        return json_objects(frame, self.columns)

    def called_like_fields(self) -> tuple[str, ...]:
        """What is told of attributes that have the name of a field."""
        names = (field.removeprefix(ATTRIBUTE) for field in self.columns)
        return tuple(name_clash_note(name) for name in names if name in CORE)

    def store_types(self, conn: Connection, space_key: int) -> None:
        """Inside the transaction that writes the attributes. StoreBusy where another decided otherwise meanwhile."""
        if self.reading.types:
            attribute_types.set_types(conn, space_key, self.reading.types, self.subject)
        attribute_types.add_consistent(conn, space_key, self.types, self.subject)


def read_attributes(
    database: Database, space_name: str, source: Mapping[str, Column], reading: Reading, subject: Subject = "item"
) -> Attributes:
    """The `attributes.NAME` fields of a file as the types they have: declared, known, of the catalogue, of the file.

    InputError for a declared type of an attribute that the file does not have.
    """
    columns = {field.removeprefix(ATTRIBUTE): each for field, each in source.items() if field.startswith(ATTRIBUTE)}
    if unknown := sorted(reading.types.keys() - columns.keys()):
        raise InputError(
            f"the file has no attribute {unknown[0]!r} to give a type; it has {', '.join(columns) or 'none'}"
        )
    known = _known(database, space_name, list(columns), subject) | dict(reading.types)
    made: dict[str, Column] = {}
    kinds: dict[str, AttributeType] = {}
    unfit: dict[str, pl.Series] = {}
    notes = []
    for name, column in columns.items():
        voted = votes(column, reading.decimal)
        of_file = majority(voted, "text" if column.is_text else "any")
        kind = known.get(name) or of_file
        if kind is not None:
            kinds[name] = kind
        fitted = fit(column, kind or "any", reading.decimal)
        made[ATTRIBUTE + name] = fitted.column
        if fitted.unfit.any():
            unfit[ATTRIBUTE + name] = fitted.unfit
        other = of_file if kind == "text" and of_file and name not in reading.types and not voted.get("text") else None
        if kind is not None and (fitted.unfit.any() or fitted.odd.any() or other not in (None, kind)):
            notes.append(_note(name, kind, column, fitted, reading, other))
    return Attributes(subject, made, kinds, unfit, reading, tuple(notes))


def _known(database: Database, space_name: str, names: list[str], subject: Subject) -> dict[str, AttributeType]:
    """Types that are stored, or told by what is stored of these attributes."""
    with database.connect() as conn:
        try:
            space = spaces.get(conn, space_name)
        except NotFound:
            return {}
        known = attribute_types.read(conn, space.key, subject)
        new = [name for name in names if name not in known]
        return known | (attribute_types.infer_from_catalogue(conn, space.key, new, subject) if new else {})


def _note(
    name: str, kind: AttributeType, column: Column, fitted: Fitted, reading: Reading, other: AttributeType | None
) -> TypeNote:
    odd = pl.DataFrame({"text": column.series, "value": fitted.column.series}).filter(fitted.odd)
    examples = odd.unique("text", keep="first", maintain_order=True).head(SHOWN)
    unfit = column.series.filter(fitted.unfit).unique(maintain_order=True).head(SHOWN)
    found = {currency_of(text) for text in odd["text"].unique().to_list()} if fitted.odd.any() else set()
    return TypeNote(
        name,
        kind,
        int(fitted.unfit.sum()),
        tuple(str(load(each)) if column.is_json else str(each) for each in unfit.to_list()),
        int(fitted.odd.sum()),
        tuple((text, float(value)) for text, value in examples.iter_rows()),
        tuple(sorted(each for each in found if each)),
        reading.unfit == "reject",
        other,
    )


def _checks(columns: Mapping[str, Column]) -> list[Check]:
    checks: list[Check] = []
    for field, column in columns.items():
        cell = pl.col(field)
        if column.series.dtype.is_float():
            checks.append((f"{field} is not finite", ~cell.is_finite()))
        elif column.series.dtype == pl.String:
            if column.is_json:
                checks.append((f"{field} is not finite", cell == NOT_FINITE))
            nul = cell.str.contains("\\u0000" if column.is_json else "\x00", literal=True)
            checks.append((f"{field} holds NUL", nul))
    return checks


def json_objects(frame: pl.DataFrame, columns: Mapping[str, Column]) -> list[str | None]:
    cells = {
        field.removeprefix(ATTRIBUTE): [None if cell is None else orjson.Fragment(cell) for cell in frame[field]]
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
