"""The catalogue as typed columns, and the evaluation of a predicate as a mask over them.

Attributes are sparse: a column stores, for each kind of value, the rows with such a value, so that an attribute of few
items costs few bytes. All attributes are one Arrow table, which a generation memory-maps and all workers share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from engine.catalogue.case_folded import FoldedTextCache
from engine.catalogue.comparable_values import Kind, Scalar, comparables, parse_moment
from engine.catalogue.predicate import CORE, ORDERS, PREFIX, AllOf, Condition, Not, Predicate
from engine.deadline import check_deadline

Mask = npt.NDArray[np.bool_]
SCHEMA = pa.schema(
    [
        ("field", pa.string()),
        ("kind", pa.string()),  # a predicate.Kind, or "present": the rows where the field is not null
        ("rows", pa.large_list(pa.int64())),
        (
            "numbers",
            pa.large_list(pa.float64()),
        ),  # values of number, numbers and bool; times of text, NaN if not a time
        ("texts", pa.large_list(pa.large_string())),  # values of text and texts; else empty
        ("rests", pa.large_list(pa.int16())),  # integer minus its float64; empty if all are 0
    ]
)
DAY, CLOCK = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}", r"(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?)"
MAX_EXACT_INT = 2**53  # float64 holds all integers up to this
COMPARISONS = {"lt": np.less, "lte": np.less_equal, "gt": np.greater, "gte": np.greater_equal}
assert COMPARISONS.keys() == ORDERS.keys()
MAX_REST = 2**10  # no rest of a 64-bit integer is larger

PARSE_BATCH_ROWS = 65_536


@dataclass(frozen=True, eq=False)
class FieldValues:
    """The values of one field and kind: `values[i]` belongs to row `rows[i]`; a list repeats its row per element."""

    rows: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64] | pa.Array
    rests: npt.NDArray[np.int16] | None = None  # value + rest is the exact integer; None: all rests are 0
    moments: npt.NDArray[np.float64] | None = None  # texts as times, NaN if not a time; None: no text is a time


@dataclass(frozen=True, eq=False)
class Columns:
    catalogue: pa.Table
    attributes: pa.Table  # SCHEMA

    @cached_property
    def _row_of(self) -> Mapping[str, dict[str, int]]:
        """field -> kind -> row of `attributes`."""
        row_of: dict[str, dict[str, int]] = {}
        names = (self.attributes["field"].to_pylist(), self.attributes["kind"].to_pylist())
        for row, (field, kind) in enumerate(zip(*names, strict=True)):
            row_of.setdefault(field, {})[kind] = row
        return row_of

    def mask(self, predicate: Predicate) -> Mask:
        """Whether each row of the catalogue matches the predicate, (n,) bool."""
        if isinstance(predicate, Condition):
            return self._test(predicate)
        if isinstance(predicate, Not):
            return ~self.mask(predicate.part)
        join = np.logical_and if isinstance(predicate, AllOf) else np.logical_or
        mask = self.mask(predicate.parts[0])
        for part in predicate.parts[1:]:
            join(mask, self.mask(part), out=mask)
        return mask

    def kinds(self, field: str) -> set[Kind]:
        """The kinds of the values of an attribute; `time` instead of `text` if all its texts are times."""
        kinds: set[Kind] = {kind for kind in self._row_of.get(field, {}) if kind != "present"}  # type: ignore[misc]
        texts = self.field_values(field, "text") if "text" in kinds else None
        is_time = texts is not None and texts.moments is not None and not np.isnan(texts.moments).any()
        return kinds - {"text"} | {"time"} if is_time else kinds

    def has(self, field: str) -> bool:
        return field in CORE or field in self._row_of

    def text_bytes(self, field: str) -> int:
        """The bytes that a substring search reads in a field."""
        if field not in self._text_bytes:
            row = self._row_of.get(field, {}).get("text")
            texts = self.attributes["texts"][row].values.nbytes if row is not None else 0
            self._text_bytes[field] = self.catalogue[field].nbytes if CORE.get(field) == "text" else texts
        return self._text_bytes[field]

    @cached_property
    def _text_bytes(self) -> dict[str, int]:
        return {}

    @cached_property
    def _folded(self) -> FoldedTextCache:
        return FoldedTextCache()

    def _test(self, test: Condition) -> Mask:
        check_deadline()
        mask = np.zeros(self.catalogue.num_rows, dtype=bool)
        if test.operator == "exists":
            mask[self._present(test.field)] = True
            return mask if test.value else ~mask
        for kind in test.kinds:
            field_values = self.field_values(test.field, kind)
            if field_values is not None:
                mask[field_values.rows[self._satisfies(test, kind, field_values)]] = True
        return mask

    def _satisfies(self, test: Condition, kind: Kind, field_values: FieldValues) -> Mask:
        """Which of the values satisfy the condition."""
        if test.moments and field_values.moments is not None:
            as_text = self._satisfies(test, kind, FieldValues(field_values.rows, field_values.values))
            return np.where(np.isnan(field_values.moments), as_text, _compare_moments(test, field_values.moments))
        within = test.operator == "contains" and kind == "text"
        if test.match_case is False or (within and test.match_case is None):
            texts = self._folded.get(test.field, kind, field_values.values)
            return texts.contains(str(test.value)) if within else texts.is_in(test.value)
        return _compare(test, kind, field_values)

    def _present(self, field: str) -> npt.NDArray[np.int64]:
        if field in CORE:
            return np.flatnonzero(self.catalogue[field].is_valid().to_numpy())
        row = self._row_of.get(field, {}).get("present")
        return np.zeros(0, np.int64) if row is None else self.attributes["rows"][row].values.to_numpy()

    def field_values(self, field: str, kind: Kind) -> FieldValues | None:
        """The values of a field that have this kind; None: there are none."""
        if field in CORE:
            return self._core(field) if CORE[field] == kind else None
        row = self._row_of.get(field, {}).get(kind)
        if row is None:
            return None
        rows = self.attributes["rows"][row].values.to_numpy()
        if kind in ("text", "texts"):
            moments = self.attributes["numbers"][row].values.to_numpy()
            return FieldValues(rows, self.attributes["texts"][row].values, moments=moments if len(moments) else None)
        return FieldValues(rows, self.attributes["numbers"][row].values.to_numpy(), self._rests(row))

    def _rests(self, row: int) -> npt.NDArray[np.int16] | None:
        rests = self.attributes["rests"][row].values.to_numpy()
        return rests if len(rests) else None

    def _core(self, field: str) -> FieldValues:
        column = self.catalogue[field].combine_chunks()
        if CORE[field] == "texts":
            rows = pc.list_parent_indices(column).to_numpy().astype(np.int64)
            return FieldValues(rows, pc.list_flatten(column))
        rows = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
        valid = column.drop_null()
        if CORE[field] == "text":
            return FieldValues(rows, valid)
        return FieldValues(rows, valid.to_numpy(zero_copy_only=False).astype(np.float64))


def attribute_table(catalogue: pa.Table) -> pa.Table:
    """The attributes of all rows as a table of SCHEMA; computed once per generation."""
    columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
    for name, (rows, values) in sorted(_fields(catalogue["attributes"]).items()):
        for kind, of_rows, scalars in sorted(_kinds(rows, values), key=lambda each: each[0]):
            is_text = kind in ("text", "texts")
            numbers = _moments(scalars) if is_text else np.array(scalars, np.float64)
            rests = [] if is_text else _rests_of(scalars, numbers)
            row = (PREFIX + name, kind, of_rows, numbers, scalars if is_text else [], rests)
            for column, each in zip(columns.values(), row, strict=True):
                column.append(each)
    return pa.table(columns, schema=SCHEMA)


def _moments(texts: list[str]) -> npt.NDArray[np.float64]:
    """The time of each text, NaN if it is not a time; empty if no text is a time."""
    column = pa.array(texts, pa.large_string())
    starts_with_date = pc.match_substring_regex(column, DAY).to_numpy(zero_copy_only=False)
    if not starts_with_date.any():
        return np.array([], np.float64)
    distinct = column.filter(pa.array(starts_with_date)).dictionary_encode()
    moments = np.full(len(texts), np.nan)
    moments[starts_with_date] = _read_moments(distinct.dictionary)[distinct.indices.to_numpy()]
    return moments[:0] if np.isnan(moments).all() else moments


def _read_moments(texts: pa.Array) -> npt.NDArray[np.float64]:
    """`parse_moment` of each text; numpy parses the usual format much faster."""
    if pc.all(pc.match_substring_regex(texts, f"{DAY}{CLOCK}?Z?$")).as_py():
        try:
            plain = pc.replace_substring_regex(texts, "Z$", "").to_numpy(zero_copy_only=False)
            return plain.astype("datetime64[us]").astype(np.int64).astype(np.float64)
        except ValueError:  # a date or a time that does not exist
            pass
    moments = [parse_moment(text) for text in texts.to_pylist()]
    return np.array([np.nan if at is None else at for at in moments], np.float64)


def _rests_of(scalars: list[Any], numbers: npt.NDArray[np.float64]) -> list[int]:
    """The rest of each integer that float64 cannot represent exactly; empty if all rests are 0."""
    if not len(numbers) or np.abs(numbers).max() < MAX_EXACT_INT:
        return []
    rests = [
        each - int(number) if isinstance(each, int) else 0
        for each, number in zip(scalars, numbers.tolist(), strict=True)
    ]
    return rests if any(rests) else []


def _fields(texts: pa.ChunkedArray) -> dict[str, tuple[list[int], list[Any]]]:
    """name -> the rows with a value that is not null, and these values. Rows are parsed in batches."""
    has_attributes = pc.and_(texts.is_valid(), pc.not_equal(texts, "{}")).fill_null(False)
    rows, fields = np.flatnonzero(has_attributes.to_numpy()), dict[str, tuple[list[int], list[Any]]]()
    texts = texts.filter(has_attributes)
    for start in range(0, len(rows), PARSE_BATCH_ROWS):
        parsed = orjson.loads(f"[{','.join(texts.slice(start, PARSE_BATCH_ROWS).to_pylist())}]")
        for row, attributes in zip(rows[start : start + PARSE_BATCH_ROWS].tolist(), parsed, strict=True):
            for name, value in attributes.items():
                if value is not None:
                    rows_and_values = fields.get(name)
                    if rows_and_values is None:
                        rows_and_values = fields[name] = [], []
                    rows_and_values[0].append(row)
                    rows_and_values[1].append(value)
    return fields


def _kinds(rows: list[int], values: list[Any]) -> Iterator[tuple[str, list[int], list[Any]]]:
    """Each kind of the values of one field, with its rows and values. Most fields have a single type."""
    yield "present", rows, []
    types = set(map(type, values))
    if types <= {int, float}:
        yield "number", rows, values  # orjson rejects numbers beyond float64
    elif types == {str}:
        yield "text", rows, values
    else:
        by_kind: dict[str, tuple[list[int], list[Any]]] = {}
        for row, value in zip(rows, values, strict=True):
            for kind, each in comparables(value):
                of_rows, scalars = by_kind.setdefault(kind, ([], []))
                of_rows.append(row)
                scalars.append(each)
        yield from ((kind, of_rows, scalars) for kind, (of_rows, scalars) in by_kind.items())


def _compare(test: Condition, kind: Kind, field_values: FieldValues) -> Mask:
    """Which of the values satisfy the condition, compared with case and not as times."""
    if isinstance(field_values.values, np.ndarray):
        return _compare_numbers(test, field_values.values, field_values.rests)
    if test.operator == "contains" and kind == "text":
        mask = pc.match_substring(field_values.values, str(test.value))
    elif test.operator == "in":
        mask = pc.is_in(field_values.values, value_set=pa.array(test.value, field_values.values.type))
    else:
        compare = {"lt": pc.less, "lte": pc.less_equal, "gt": pc.greater, "gte": pc.greater_equal}
        mask = compare.get(test.operator, pc.equal)(
            field_values.values, pa.scalar(test.value, field_values.values.type)
        )
    return np.asarray(mask.to_numpy(zero_copy_only=False), dtype=bool)


def _compare_numbers(test: Condition, values: npt.NDArray[np.float64], rests: npt.NDArray[np.int16] | None) -> Mask:
    """Compare numbers as float64 plus rest: by float64 first, and by rest if these are equal."""
    wanted = [_split_number(each) for each in (test.value if isinstance(test.value, tuple) else (test.value,))]
    if test.operator == "in":
        mask = np.isin(values, [number for number, rest in wanted if rest == 0])
        if rests is not None:
            mask &= rests == 0
            for number, rest in wanted:
                mask |= (values == number) & (rests == rest)
        return mask
    [(number, rest)] = wanted
    compare = COMPARISONS.get(test.operator, np.equal)
    if rests is None and rest == 0:
        return np.asarray(compare(values, number))
    return np.where(values == number, compare(0 if rests is None else rests, rest), compare(values, number))


def _compare_moments(test: Condition, moments: npt.NDArray[np.float64]) -> Mask:
    if test.operator in ("eq", "in"):
        return np.isin(moments, test.moments)
    return np.asarray(COMPARISONS[test.operator](moments, test.moments[0]))


def _split_number(value: Scalar) -> tuple[float, int]:
    """The float64 and the rest of a number."""
    number = float(value)
    rest = value - int(number) if isinstance(value, int) else 0
    return number, max(-MAX_REST, min(rest, MAX_REST))
