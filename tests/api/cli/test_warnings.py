"""Warnings about unknown attributes and items on the command line."""

from __future__ import annotations

from typing import Any


def test_unknown_attributes_and_items_are_warnings(shop: Any) -> None:
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
