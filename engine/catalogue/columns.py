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
        ),  # of number, numbers, bool; of text the moments, NaN for none
        ("texts", pa.large_list(pa.large_string())),  # of text and texts; else empty
        ("rests", pa.large_list(pa.int16())),  # what float64 leaves of integers; empty where that is nothing
    ]
)
DAY, CLOCK = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}", r"(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?)"
MAX_EXACT_INT = 2**53  # float64 holds all integers up to this
COMPARISONS = {"lt": np.less, "lte": np.less_equal, "gt": np.greater, "gte": np.greater_equal}
assert COMPARISONS.keys() == ORDERS.keys()
MAX_REST = 2**10  # of an integer of 64 bits


PARSE_BATCH_ROWS = 65_536  # rows


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
        found: dict[str, dict[str, int]] = {}
        names = (self.attributes["field"].to_pylist(), self.attributes["kind"].to_pylist())
        for row, (field, kind) in enumerate(zip(*names, strict=True)):
            found.setdefault(field, {})[kind] = row
        return found

    def mask(self, predicate: Predicate) -> Mask:
        """Whether each row of the catalogue matches the predicate, (n,) bool."""
        if isinstance(predicate, Condition):
            return self._test(predicate)
        if isinstance(predicate, Not):
            return ~self.mask(predicate.part)
        join = np.logical_and if isinstance(predicate, AllOf) else np.logical_or
        made = self.mask(predicate.parts[0])
        for part in predicate.parts[1:]:
            join(made, self.mask(part), out=made)
        return made

    def kinds(self, field: str) -> set[Kind]:
        """The kinds of the values of an attribute; `time` instead of `text` if all its texts are times."""
        found: set[Kind] = {kind for kind in self._row_of.get(field, {}) if kind != "present"}  # type: ignore[misc]
        held = self._held(field, "text") if "text" in found else None
        is_time = held is not None and held.moments is not None and not np.isnan(held.moments).any()
        return found - {"text"} | {"time"} if is_time else found

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
            held = self._held(test.field, kind)
            if held is not None:
                mask[held.rows[self._found(test, kind, held)]] = True
        return mask

    def _found(self, test: Condition, kind: Kind, held: FieldValues) -> Mask:
        """Which of the values satisfy the condition."""
        if test.moments and held.moments is not None:
            as_text = self._found(test, kind, FieldValues(held.rows, held.values))
            return np.where(np.isnan(held.moments), as_text, _of_moments(test, held.moments))
        within = test.operator == "contains" and kind == "text"
        if test.match_case is False or (within and test.match_case is None):
            texts = self._folded.get(test.field, kind, held.values)
            return texts.contains(str(test.value)) if within else texts.is_in(test.value)
        return _holding(test, kind, held)

    def _present(self, field: str) -> npt.NDArray[np.int64]:
        if field in CORE:
            return np.flatnonzero(self.catalogue[field].is_valid().to_numpy())
        row = self._row_of.get(field, {}).get("present")
        return np.zeros(0, np.int64) if row is None else self.attributes["rows"][row].values.to_numpy()

    def _held(self, field: str, kind: Kind) -> FieldValues | None:
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
            rests = [] if is_text else _left(scalars, numbers)
            row = (PREFIX + name, kind, of_rows, numbers, scalars if is_text else [], rests)
            for column, each in zip(columns.values(), row, strict=True):
                column.append(each)
    return pa.table(columns, schema=SCHEMA)


def _moments(texts: list[str]) -> npt.NDArray[np.float64]:
    """The time of each text, NaN if it is not a time; empty if no text is a time."""
    column = pa.array(texts, pa.large_string())
    begun = pc.match_substring_regex(column, DAY).to_numpy(zero_copy_only=False)
    if not begun.any():
        return np.array([], np.float64)
    distinct = column.filter(pa.array(begun)).dictionary_encode()
    made = np.full(len(texts), np.nan)
    made[begun] = _read_moments(distinct.dictionary)[distinct.indices.to_numpy()]
    return made[:0] if np.isnan(made).all() else made


def _read_moments(texts: pa.Array) -> npt.NDArray[np.float64]:
    """`parse_moment` of each text; numpy parses the usual format much faster."""
    if pc.all(pc.match_substring_regex(texts, f"{DAY}{CLOCK}?Z?$")).as_py():
        try:
            plain = pc.replace_substring_regex(texts, "Z$", "").to_numpy(zero_copy_only=False)
            return plain.astype("datetime64[us]").astype(np.int64).astype(np.float64)
        except ValueError:  # a date or a time that does not exist
            pass
    found = [parse_moment(text) for text in texts.to_pylist()]
    return np.array([np.nan if at is None else at for at in found], np.float64)


def _left(scalars: list[Any], numbers: npt.NDArray[np.float64]) -> list[int]:
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
    there = pc.and_(texts.is_valid(), pc.not_equal(texts, "{}")).fill_null(False)
    rows, found = np.flatnonzero(there.to_numpy()), dict[str, tuple[list[int], list[Any]]]()
    texts = texts.filter(there)
    for start in range(0, len(rows), PARSE_BATCH_ROWS):
        parsed = orjson.loads(f"[{','.join(texts.slice(start, PARSE_BATCH_ROWS).to_pylist())}]")
        for row, attributes in zip(rows[start : start + PARSE_BATCH_ROWS].tolist(), parsed, strict=True):
            for name, value in attributes.items():
                if value is not None:
                    held = found.get(name)
                    if held is None:
                        held = found[name] = [], []
                    held[0].append(row)
                    held[1].append(value)
    return found


def _kinds(rows: list[int], values: list[Any]) -> Iterator[tuple[str, list[int], list[Any]]]:
    """Each kind of the values of one field, with its rows and values. Most fields have a single type."""
    yield "present", rows, []
    types = set(map(type, values))
    if types <= {int, float}:
        yield "number", rows, values  # orjson rejects numbers beyond float64
    elif types == {str}:
        yield "text", rows, values
    else:
        found: dict[str, tuple[list[int], list[Any]]] = {}
        for row, value in zip(rows, values, strict=True):
            for kind, each in comparables(value):
                of_rows, scalars = found.setdefault(kind, ([], []))
                of_rows.append(row)
                scalars.append(each)
        yield from ((kind, of_rows, scalars) for kind, (of_rows, scalars) in found.items())


def _holding(test: Condition, kind: Kind, held: FieldValues) -> Mask:
    """Which of the values satisfy the condition, compared with case and not as times."""
    if isinstance(held.values, np.ndarray):
        return _numbers(test, held.values, held.rests)
    if test.operator == "contains" and kind == "text":
        found = pc.match_substring(held.values, str(test.value))
    elif test.operator == "in":
        found = pc.is_in(held.values, value_set=pa.array(test.value, held.values.type))
    else:
        compare = {"lt": pc.less, "lte": pc.less_equal, "gt": pc.greater, "gte": pc.greater_equal}
        found = compare.get(test.operator, pc.equal)(held.values, pa.scalar(test.value, held.values.type))
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=bool)


def _numbers(test: Condition, values: npt.NDArray[np.float64], rests: npt.NDArray[np.int16] | None) -> Mask:
    """Compare numbers as float64 plus rest: by float64 first, and by rest if these are equal."""
    wanted = [_parted(each) for each in (test.value if isinstance(test.value, tuple) else (test.value,))]
    if test.operator == "in":
        found = np.isin(values, [number for number, rest in wanted if rest == 0])
        if rests is not None:
            found &= rests == 0
            for number, rest in wanted:
                found |= (values == number) & (rests == rest)
        return found
    [(number, rest)] = wanted
    by = COMPARISONS.get(test.operator, np.equal)
    if rests is None and rest == 0:
        return np.asarray(by(values, number))
    return np.where(values == number, by(0 if rests is None else rests, rest), by(values, number))


def _of_moments(test: Condition, moments: npt.NDArray[np.float64]) -> Mask:
    if test.operator in ("eq", "in"):
        return np.isin(moments, test.moments)
    return np.asarray(COMPARISONS[test.operator](moments, test.moments[0]))


def _parted(value: Scalar) -> tuple[float, int]:
    """The float64 and the rest of a number."""
    number = float(value)
    rest = value - int(number) if isinstance(value, int) else 0
    return number, max(-MAX_REST, min(rest, MAX_REST))
