"""Rows of a bulk write, each checked by itself: a bad one does not keep the others out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from engine.errors import InputError, Problem

MOST_OF_ROW = 20  # faults told one by one
T = TypeVar("T")


@dataclass(frozen=True)
class Checked(Generic[T]):
    name: str
    good: dict[int, T]  # by row
    bad: dict[int, tuple[Problem, ...]]

    def without(self, status: str, statuses: Sequence[str], why: Problem) -> tuple[Checked[T], list[str]]:
        """The good rows that came out of the write with another status than this one, and their statuses; the others
        are rejected. InputError as `check_rows`."""
        if status not in statuses:
            return self, list(statuses)
        kept = {row: each for row, each in zip(self.good, statuses, strict=True) if each != status}
        problems = {
            row: (Problem(("body", self.name, row, *why.loc), why.msg),) for row in self.good if row not in kept
        }
        good = {row: each for row, each in self.good.items() if row in kept}
        return _checked(self.name, good, dict(sorted((self.bad | problems).items()))), list(kept.values())

    def results(
        self, statuses: Sequence[str], notes: Mapping[int, str] = MappingProxyType({})
    ) -> list[tuple[str, str | None]]:
        """(status, detail) of every row, in order; `statuses` are those of the good rows, `notes` of some."""
        done = dict(zip(self.good, statuses, strict=True))
        rejected = {row: "; ".join(f"{_place(each)}: {each.msg}" for each in found) for row, found in self.bad.items()}
        n_rows = len(done | rejected)
        return [(done[row], notes.get(row)) if row in done else ("rejected", rejected[row]) for row in range(n_rows)]


def check_rows(name: str, rows: Sequence[Any], parse: Callable[[Any], T]) -> Checked[T]:
    """Every row parsed or with its problems; InputError with all of them when no row is good."""
    good: dict[int, T] = {}
    bad: dict[int, tuple[Problem, ...]] = {}
    for row, values in enumerate(rows):
        try:
            good[row] = parse(values)
        except ValidationError as error:
            bad[row] = tuple(_problems(error, ("body", name, row)))
        except InputError as error:
            bad[row] = tuple(Problem(("body", name, row, *each.loc), each.msg) for each in error.problems)
    return _checked(name, good, bad)


def _problems(error: ValidationError, row: tuple[str | int, ...]) -> Iterator[Problem]:
    """Of one row; there may be thousands with as many each."""
    if error.error_count() > MOST_OF_ROW:
        yield Problem(row, f"has {error.error_count()} fields that there are none of, or with wrong values")
        return
    for each in error.errors(include_url=False, include_context=False, include_input=False):
        yield Problem((*row, *each["loc"]), _message(each))


def _checked(name: str, good: dict[int, T], bad: dict[int, tuple[Problem, ...]]) -> Checked[T]:
    if not good:
        problems = tuple(problem for found in bad.values() for problem in found)
        raise InputError(f"none of the {len(bad)} {name} can be accepted", problems=problems[:100])
    return Checked(name, good, bad)


def _message(error: Any) -> str:
    if error["type"] == "model_type":
        return "expected an object"
    return (
        "there is no such field" if error["type"] == "extra_forbidden" else error["msg"].removeprefix("Value error, ")
    )


def _place(problem: Problem) -> str:
    return ".".join(str(part) for part in problem.loc[3:]) or "row"
