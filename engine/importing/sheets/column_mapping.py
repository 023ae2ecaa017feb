"""Which column of a file, or which constant, each field is taken from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import polars as pl

from engine.errors import InputError
from engine.importing.sheets.sheet import Column, Sheet

ATTRIBUTE = "attributes."  # attributes.price is the attribute `price`
NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Fields:
    """The fields of one kind of file. `rest`: columns that no field takes become attributes."""

    names: tuple[str, ...]
    needed: tuple[str, ...]
    rest: bool = False


def resolve(
    sheet: Sheet, fields: Fields, columns: Mapping[str, str], constants: Mapping[str, str]
) -> dict[str, Column]:
    """Field -> its column, `attributes.NAME` among them. A column that has a field's name needs no mapping.

    Raises InputError for a field or a column that is not there, listing those that are.
    """
    _check_names(fields, {**columns, **constants})
    if both := sorted(columns.keys() & constants.keys()):
        raise InputError(f"{both[0]} is given both a column and a constant; give one of them")
    found = sheet.frame.columns
    for field, name in columns.items():
        if name not in found:
            raise InputError(f"{sheet.name} has no column {name!r} for {field}; columns found: {', '.join(found)}")
    taken = {name: name for name in found if _known(fields, name) and name not in constants} | dict(columns)
    if fields.rest:
        used = set(taken.values())
        taken = {ATTRIBUTE + name: name for name in found if name not in used and not _known(fields, name)} | taken
    _check_needed(sheet, fields, taken.keys() | constants.keys())
    fixed = {
        field: Column(pl.repeat(value, sheet.frame.height, dtype=pl.String, eager=True), is_text=True)
        for field, value in constants.items()
    }
    return {field: sheet.column(name) for field, name in taken.items()} | fixed


def _known(fields: Fields, name: str) -> bool:
    return name in fields.names or (name.startswith(ATTRIBUTE) and name != ATTRIBUTE)


def _check_names(fields: Fields, given: Mapping[str, str]) -> None:
    for field in given:
        if not _known(fields, field) or "\x00" in field:
            raise InputError(f"there is no field {field!r}; fields: {', '.join(fields.names)}, attributes.NAME")


def _check_needed(sheet: Sheet, fields: Fields, given: set[str]) -> None:
    missing = [field for field in fields.needed if field not in given]
    if missing:
        raise InputError(
            f"{sheet.name} has no column for {', '.join(missing)}; columns found: {', '.join(sheet.frame.columns)}; "
            f"map one with --column {missing[0]}=COLUMN, or give every row the same with --set {missing[0]}=VALUE"
        )
