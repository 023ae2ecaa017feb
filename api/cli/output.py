"""What commands print: tables for people, one JSON object as the last line for programs, progress on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

out = Console(highlight=False, soft_wrap=False)
err = Console(stderr=True, highlight=False)


def emit(json: bool, body: Mapping[str, Any], show: Callable[[], None]) -> None:
    """The object as one line of JSON, or what `show` prints."""
    if json:
        print(orjson.dumps(body).decode(), flush=True)
    else:
        show()


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> None:
    made = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for at, column in enumerate(columns):
        numbers = bool(rows) and all(isinstance(row[at], int | float) for row in rows)
        made.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        made.add_row(*(_cell(value) for value in row))
    out.print(made)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}"
    return str(value).replace("[", "\\[")


@contextmanager
def progress() -> Iterator[Callable[[str, float], None]]:
    """A bar on stderr that is told what happens and the share done; silent where nobody watches."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("", total=1.0)

        def tell(what: str, share: float) -> None:
            bar.update(task, description=what, completed=share)

        yield tell


def evaluation_table(evaluation: Mapping[str, Any], embedder: str, k: int = 20) -> None:
    """Recall, ndcg and coverage of a model beside popularity and item-kNN."""
    if f"recall@{k}" not in evaluation:
        out.print(evaluation.get("note", "no evaluation"))
        return
    rows = []
    for name, figures in (
        (embedder, evaluation),
        ("popularity", evaluation["popularity"]),
        ("item-kNN", evaluation["item_knn"]),
    ):
        low, high = figures[f"recall@{k}_interval"]
        lower, higher = figures[f"ndcg@{k}_interval"]
        rows.append(
            (
                name,
                figures[f"recall@{k}"],
                f"{low:.4f} to {high:.4f}",
                figures[f"ndcg@{k}"],
                f"{lower:.4f} to {higher:.4f}",
                figures[f"coverage@{k}"],
            )
        )
    title = f"on the last tenth of the events, {evaluation['n_users']} users"
    table(("", f"recall@{k}", "95% interval", f"ndcg@{k}", "95% interval", f"coverage@{k}"), rows, title)
