"""The options of imports, and the summary that an import prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def write(shell: Any) -> Any:
    def file(name: str, text: str) -> str:
        path = Path(shell.folder) / name
        path.write_text(text)
        return str(path)

    return file


def test_a_catalogue_is_replaced_unless_too_many_items_would_be_hidden(shell: Any, write: Any) -> None:
    ten = "item_id\n" + "\n".join(f"i{n}" for n in range(10))
    into = ("--space", "replaced")
    shell.text("import", "items", write("ten.csv", ten), *into)
    few = write("few.csv", "item_id\ni0\ni1\n")
    assert "8 of 10 available items are not in the file" in shell.fails(
        "import", "items", few, "--replace", *into, code=1
    )
    assert "go with --replace" in shell.fails("import", "items", few, "--yes", *into, code=2)
    assert "expected a share of items to hide from 0 to 1" in shell.fails(
        *("import", "items", few, "--replace", "--most-gone", "20"), *into, code=2
    )
    assert shell.json("import", "items", few, "--replace", "--yes", *into)["hidden"] == 8
    assert "8 items back in the file, shown again, such as 'i2', 'i3', 'i4'" in shell.text(
        "import", "items", write("ten.csv", ten), "--replace", *into
    )


def test_an_import_reports_how_it_read_cells_and_times(shell: Any, write: Any) -> None:
    into = ("--space", "typed")
    told = shell.text("import", "items", write("i.csv", 'item_id,price\na,12.5\nb,N/A\nc,"12,50"\nd,3\n'), *into)
    assert "price is a number, and 1 cell is not, such as 'N/A': left out" in told
    assert "price is a number: 1 cell was converted, such as '12,50' as 12.5" in told
    assert "price number" in shell.text("status", *into)
    assert shell.json("status", *into)["attribute_types"] == {"items": {"price": "number"}, "users": {}}
    rejected = shell.json("import", "items", write("i.csv", "item_id,price\na,x\n"), "--unfit", "reject", *into)
    assert rejected["rejected"] == {"attributes.price is not a number": 1}
    assert "expected a type of number, text" in shell.fails(
        *("import", "items", write("i.csv", "item_id,price\na,x\n"), "--type", "price=money"), code=2
    )
    days = write("e.csv", "user_id,item_id,occurred_at\nu,a,20251101\n-1,a,20251102\n")
    told = shell.text("import", "events", days, *into)
    assert "occurred_at was read as days written as YYYYMMDD, such as 20251101 as 2025-11-01 00:00:00" in told
    assert "1 row has the user_id '-1', which some exports write when there is no user" in told
    assert shell.json("import", "events", days, "--missing-id", "-1", *into)["rejected"] == {"missing user_id": 1}
    german = write("g.csv", "user_id,item_id,occurred_at\nu,a,01.11.2025\n")
    assert "for another format give, for example, --date-format '%d.%m.%Y %H:%M'" in shell.text(
        "import", "events", german, *into
    )
    assert shell.json("import", "events", german, "--date-format", "%d.%m.%Y", *into)["duplicates"] == 1
