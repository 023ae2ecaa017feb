"""The rows of a bulk write, validated one by one: an invalid row does not reject the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from engine.errors import InputError, Problem

MAX_ERRORS_OF_ROW = 20  # more are reported as a number
Row = TypeVar("Row")


@dataclass(frozen=True)
class CheckedRows(Generic[Row]):
    name: str  # the field of the body
    valid: dict[int, Row]  # by row number
    invalid: dict[int, tuple[Problem, ...]]

    def reject(self, status: str, statuses: Sequence[str], why: Problem) -> tuple[CheckedRows[Row], list[str]]:
        """Make the valid rows invalid that the write returned with `status`; also the statuses of the other rows.
        InputError as `check_rows`."""
        if status not in statuses:
            return self, list(statuses)
        kept = {row: each for row, each in zip(self.valid, statuses, strict=True) if each != status}
        rejected = {
            row: (Problem(("body", self.name, row, *why.loc), why.msg),) for row in self.valid if row not in kept
        }
        valid = {row: values for row, values in self.valid.items() if row in kept}
        invalid = dict(sorted((self.invalid | rejected).items()))
        return _checked_rows(self.name, valid, invalid), list(kept.values())

    def results(
        self, statuses: Sequence[str], notes: Mapping[int, str] = MappingProxyType({})
    ) -> list[tuple[str, str | None]]:
        """(status, detail) of every row, in order. `statuses`: of the valid rows; `notes`: details by row."""
        written = dict(zip(self.valid, statuses, strict=True))
        rejected = {
            row: "; ".join(f"{_place(problem)}: {problem.msg}" for problem in problems)
            for row, problems in self.invalid.items()
        }
        return [
            (written[row], notes.get(row)) if row in written else ("rejected", rejected[row])
            for row in range(len(written | rejected))
        ]


def check_rows(name: str, rows: Sequence[Any], parse: Callable[[Any], Row]) -> CheckedRows[Row]:
    """Parse every row. InputError with the problems of all rows when no row is valid."""
    valid: dict[int, Row] = {}
    invalid: dict[int, tuple[Problem, ...]] = {}
    for row, values in enumerate(rows):
        try:
            valid[row] = parse(values)
        except ValidationError as error:
            invalid[row] = tuple(_problems(error, ("body", name, row)))
        except InputError as error:
            invalid[row] = tuple(Problem(("body", name, row, *each.loc), each.msg) for each in error.problems)
    return _checked_rows(name, valid, invalid)


def _problems(error: ValidationError, loc: tuple[str | int, ...]) -> Iterator[Problem]:
    """The problems of one row; a request may have thousands of rows with many problems each."""
    if error.error_count() > MAX_ERRORS_OF_ROW:
        yield Problem(loc, f"has {error.error_count()} fields that are unknown or have wrong values")
        return
    for each in error.errors(include_url=False, include_context=False, include_input=False):
        yield Problem((*loc, *each["loc"]), _message(each))


def _checked_rows(name: str, valid: dict[int, Row], invalid: dict[int, tuple[Problem, ...]]) -> CheckedRows[Row]:
    if not valid:
        problems = tuple(problem for of_row in invalid.values() for problem in of_row)
        raise InputError(f"none of the {len(invalid)} {name} can be accepted", problems=problems[:100])
    return CheckedRows(name, valid, invalid)


def _message(error: Any) -> str:
    if error["type"] == "model_type":
        return "expected an object"
    return (
        "there is no such field" if error["type"] == "extra_forbidden" else error["msg"].removeprefix("Value error, ")
    )


def _place(problem: Problem) -> str:
    return ".".join(str(part) for part in problem.loc[3:]) or "row"
