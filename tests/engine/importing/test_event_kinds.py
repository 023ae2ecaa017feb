"""The kinds in a file: the summary reports how each is interpreted, and a second import writes nothing."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.importing import ImportSummary
from engine.importing.reports.event_kinds import ReportedKind
from engine.store import events, spaces
from engine.store.database.connections import Database
from engine.store.spaces import Space

Load = Callable[..., ImportSummary]
Stored = Callable[[], list[tuple[Any, ...]]]

FILE = """user_id,item_id,kind,value,occurred_at
ann,cup,transaction,2,2025-01-01
ann,cup,transaction,-1,2025-01-02
ben,cup,Order Completed,1,2025-01-03
ben,hat,wishlist,1,2025-01-04
cid,hat,view,1,2025-01-05
cid,hat,view,-1,2025-01-06
"""


def load_file(load: Load, folder: Path) -> ImportSummary:
    path = folder / "shop.csv"
    path.write_text(FILE)
    return load(path)


def test_the_summary_reports_how_each_kind_is_interpreted(load: Load, tmp_path: Path) -> None:
    summary = load_file(load, tmp_path)
    assert summary.kinds is not None
    assert [(each.rows, each.word, each.taken_as, each.weight) for each in summary.kinds] == [
        (1, "Order Completed", "purchase", 5.0),
        (1, "return", "return", -5.0),
        (1, "transaction", "purchase", 5.0),
        (1, "view", "view", 1.0),
        (1, "wishlist", None, 0.0),
    ]
    assert [str(each) for each in summary.kinds][2] == "1 `transaction` taken as purchase"
    assert f"nearfield weights --space {summary.kinds[4].space} --kind 'wishlist=2'" in str(summary.kinds[4])
    assert summary.rejected == {"value is negative, but kind is not a purchase": 1}


def test_kinds_are_stored_as_in_the_file_and_a_second_import_writes_nothing(
    load: Load, stored: Stored, tmp_path: Path
) -> None:
    load_file(load, tmp_path)
    assert [row[2] for row in stored()] == ["transaction", "return", "Order Completed", "wishlist", "view"]
    again = load_file(load, tmp_path)
    assert (again.written, again.duplicates) == (0, 5)


def test_a_kind_that_the_space_defines_is_known_to_the_next_import(
    load: Load, tmp_path: Path, database: Database, space: Space
) -> None:
    load_file(load, tmp_path)
    with database.begin() as conn:
        listed = replace(space.weighting, kinds=dict(space.weighting.kinds) | {"Wishlist": 2.0})
        spaces.set_weighting(conn, space, listed)
        counts = events.kind_counts(conn, space.key)
    assert counts == {"Order Completed": 1, "return": 1, "transaction": 1, "view": 1, "wishlist": 1}
    assert (space.weighting.vocabulary.unknown_words(counts), listed.vocabulary.unknown_words(counts)) == (
        {"wishlist": 1},
        {},
    )
    words = load_file(load, tmp_path).kinds or ()
    assert [str(each) for each in words if each.word == "wishlist"] == [
        "1 `wishlist` with weight 2 each, set in this space"
    ]


def test_the_suggested_command_names_the_space_and_is_quoted_for_a_shell() -> None:
    assert "for example, `nearfield weights --kind 'wishlist=2'`" in str(ReportedKind("wishlist", 1, None, 0.0, False))
    told = str(ReportedKind("it's; ls", 1, None, 0.0, False, "shoes"))
    command = told.split("`")[-2]
    assert shlex.split(command) == ["nearfield", "weights", "--space", "shoes", "--kind", "it's; ls=2"]


def test_kinds_beyond_the_reported_ones_are_counted(load: Load, tmp_path: Path) -> None:
    rows = [f"ann,cup,{word},2025-01-01" for n in range(102) for word in (f"word{n:03d}",)]
    path = tmp_path / "wrong.csv"
    path.write_text("\n".join(["user_id,item_id,kind,occurred_at", *rows, "ann,cup,word000,2025-01-02"]) + "\n")
    summary = load(path)
    assert len(summary.kinds or ()) == 100
    assert (
        "2 rows have 2 more kinds, 2 of them unknown; check that the column mapped to kind is the right one"
        in summary.notes
    )
