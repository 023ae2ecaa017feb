"""The mapping of columns, or of constants, to the fields of an import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import polars as pl

from engine.errors import InputError
from engine.importing.sheets.sheet import Column, Sheet

ATTRIBUTE_PREFIX = "attributes."  # the field attributes.price is the attribute `price`
NO_MAPPING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Fields:
    """The fields of one kind of file. `rest_is_attributes`: columns that are not fields become attributes.
    `instead_of`: pairs of a required field and another that a file may have in its place."""

    names: tuple[str, ...]
    required: tuple[str, ...]
    rest_is_attributes: bool = False
    instead_of: tuple[tuple[str, str], ...] = ()


def map_columns(
    sheet: Sheet, fields: Fields, columns: Mapping[str, str], constants: Mapping[str, str]
) -> dict[str, Column]:
    """Field -> column, including `attributes.NAME` fields. A column that has the name of a field needs no mapping.

    Raises InputError for an unknown field or column, with the list of known ones, and for a required field without a
    column.
    """
    _check_field_names(fields, {**columns, **constants})
    if both := sorted(columns.keys() & constants.keys()):
        raise InputError(f"{both[0]} has both a column and a constant; give one of them")
    names = sheet.frame.columns
    for field, name in columns.items():
        if name not in names:
            raise InputError(f"{sheet.name} has no column {name!r} for {field}; columns found: {', '.join(names)}")
    mapped = {name: name for name in names if _is_field(fields, name) and name not in constants} | dict(columns)
    if fields.rest_is_attributes:
        used = set(mapped.values())
        rest = [name for name in names if name not in used and not _is_field(fields, name)]
        mapped = {ATTRIBUTE_PREFIX + name: name for name in rest} | mapped
    _check_required(sheet, fields, mapped.keys() | constants.keys())
    constant_columns = {
        field: Column(pl.repeat(value, sheet.frame.height, dtype=pl.String, eager=True), is_text=True)
        for field, value in constants.items()
    }
    return {field: sheet.column(name) for field, name in mapped.items()} | constant_columns


def _is_field(fields: Fields, name: str) -> bool:
    return name in fields.names or (name.startswith(ATTRIBUTE_PREFIX) and name != ATTRIBUTE_PREFIX)


def _check_field_names(fields: Fields, mapping: Mapping[str, str]) -> None:
    for field in mapping:
        if not _is_field(fields, field) or "\x00" in field:
            raise InputError(f"there is no field {field!r}; fields: {', '.join(fields.names)}, attributes.NAME")


def _check_required(sheet: Sheet, fields: Fields, mapped: set[str]) -> None:
    instead = {field for field, other in fields.instead_of if other in mapped}
    missing = [field for field in fields.required if field not in mapped | instead]
    if missing:
        raise InputError(
            f"{sheet.name} has no column for {', '.join(missing)}; columns found: {', '.join(sheet.frame.columns)}; "
            f"map one with --column {missing[0]}=COLUMN, or set one value for all rows with --set {missing[0]}=VALUE"
        )
