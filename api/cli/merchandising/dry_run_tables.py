"""Results of dry runs as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.cli.terminal.output import out, table

MAX_ROWS = 10


def tell_shelves(name: str, result: Mapping[str, Any], fields: tuple[str, str]) -> None:
    """`fields`: the names of the columns of categories and of bands."""
    rows: list[tuple[str, object, object]] = [("requests", result["n_requests"], result["n_requests"])]
    rows += [(side, *_both(result[side])) for side in ("empty", "short", "refused")]
    acted = result["acted"] or {}
    if "before" in acted and isinstance(acted["before"], int):
        rows.append(("rule acts", *_both(acted)))
    else:
        rows += [(f"{rule} acts", *_both(counts)) for rule, counts in acted.items()]
    share = f"{result['n_changed']} of {result['n_requests']} shelves change ({result['share_changed']:.1%})"
    out.print(f"{name}: {share}", markup=False)
    if result["shortfall"] is not None:
        out.print(f"  {result['shortfall']['reason']}", markup=False)
    for reason in result["refused"]["reasons"]:
        out.print(f"  refused: {reason}", markup=False, soft_wrap=True)
    table(("shelves", "before", "after"), rows)
    of_category = [(_text(each["category"]), *_percent(each)) for each in result["categories"][:MAX_ROWS]]
    table((fields[0], "before", "after"), of_category)
    table((fields[1], "before", "after"), [(_band(each["price"]), *_percent(each)) for each in result["prices"]])
    examples = [(each["user_id"], _ids(each["items_before"]), _ids(each["items_after"])) for each in result["examples"]]
    if examples:
        table(("user", "items before", "items after"), examples)


def tell_segment(name: str, result: Mapping[str, Any]) -> None:
    before = "new" if result["before"] is None else f"{result['before']} before"
    out.print(f"{name}: {result['after']} of {result['total']} ({before})", markup=False)
    examples = result["examples"]
    rows = [(side, result[side], " ".join(examples[side])) for side in ("joined", "left")]
    table(("members", "number", "such as"), rows)


def _both(counts: Mapping[str, int]) -> tuple[int, int]:
    return counts["before"], counts["after"]


def _percent(shares: Mapping[str, Any]) -> tuple[str, str]:
    return f"{shares['before']:.1%}", f"{shares['after']:.1%}"


def _text(category: str | None) -> str:
    return "(none)" if category is None else category


def _band(band: Mapping[str, float] | None) -> str:
    if band is None:
        return "(none)"
    low, high = band.get("gte"), band.get("lt")
    return f"{'' if low is None else format(low, 'g')} .. {'' if high is None else format(high, 'g')}".strip()


def _ids(item_ids: list[str] | None) -> str:
    return "refused" if item_ids is None else " ".join(item_ids) or "empty"
