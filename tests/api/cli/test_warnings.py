"""What was asked for and is not there is told at the command line too."""

from __future__ import annotations

from typing import Any


def test_an_attribute_that_no_item_has_and_an_item_that_is_not_there_are_told(shop: Any) -> None:
    asked = ("--filter", '{"colour": "red"}')
    line = "filter.colour: no item has an attribute 'colour'\n"
    assert shop.text("recommend", "--user", "odd-user-1", *asked).endswith(line)
    assert shop.text("search", "--item", "odd-01", *asked).endswith(line)
    assert shop.text("recommend", "--all", "--out", "all.jsonl", *asked).endswith(line)
    told = [{"loc": ["filter", "colour"], "msg": "no item has an attribute 'colour'"}]
    assert shop.json("recommend", *asked)["warnings"] == told
    assert shop.json("recommend", "--all", "--out", "all.jsonl", *asked)["warnings"] == told
    assert "item.0: there is no item 'ghost'" in shop.text("recommend", "--item", "ghost", "--k", "1")
    assert shop.json("recommend", "--item", "odd-01", "--k", "1")["warnings"] == []
