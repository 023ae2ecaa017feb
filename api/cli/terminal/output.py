"""Output of commands: tables for people, one JSON object as the last line for programs, progress on stderr."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

DEFAULT_WIDTH = 120  # columns of a file or pipe, so that the header of a table stays on one line


def _console(stderr: bool = False) -> Console:
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = DEFAULT_WIDTH
    return console


out = _console()
err = _console(stderr=True)


def emit(json: bool, body: Mapping[str, Any], show: Callable[[], None]) -> None:
    """Prints `body` as one line of JSON if `json`, else calls `show`."""
    if json:
        print(orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY).decode(), flush=True)
    else:
        show()


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> None:
    """Prints rows: numbers right-aligned, `-` for None, yes and no for booleans; no header if no column has a name."""
    if title is not None:
        out.print(title, markup=False)
    rich_table = Table(header_style="bold", box=None, pad_edge=False, show_header=any(columns))
    for at, column in enumerate(columns):
        numbers = any(columns) and any(_is_number(row[at]) for row in rows)
        rich_table.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        rich_table.add_row(*(_cell(value) for value in row))
    out.print(rich_table)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4f}"
    return str(value).replace("[", "\\[")


@contextmanager
def progress() -> Iterator[Callable[[str, float], None]]:
    """A progress bar on stderr. Yields a function of the step and the share done; prints nothing if no terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("", total=1.0)

        def report(step: str, share: float) -> None:
            bar.update(task, description=step, completed=share)

        yield report
