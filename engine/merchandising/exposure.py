"""Exposure: the categories and prices that shelves show, or the values and bands of other fields, before a change and
after it.

The share of a category is the share of slots that show it; the slot of an item with several categories counts for each
of them in equal parts. Bands are quantiles: they hold equally many items of the catalogue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from engine.catalogue.item_values import Value, Values

MAX_CATEGORIES = 50
CATEGORIES, PRICE = "categories", "attributes.price"  # as `Condition.field` names them


@dataclass(frozen=True)
class ExposureBy:
    """The fields, as `Condition.field` names them: of the values that count as categories, and of the bands."""

    category_field: str = CATEGORIES
    band_field: str = PRICE
    n_bands: int = 5


class Catalogue(Protocol):
    @property
    def allowed(self) -> npt.NDArray[np.bool_] | None: ...
    def field_values(self, field: str, rows: Sequence[int]) -> list[Values]: ...
    def numbers(self, field: str) -> npt.NDArray[np.float64]: ...


def by_category(
    catalogue: Catalogue, by: ExposureBy, before: Sequence[int], after: Sequence[int]
) -> list[dict[str, Any]]:
    """The categories with the largest shares of the slots, at most MAX_CATEGORIES; None: items without a category.
    `before` and `after` are the rows of all slots."""
    shares = [_category_shares(catalogue, by.category_field, rows) for rows in (before, after)]
    largest = sorted(
        {*shares[0], *shares[1]}, key=lambda name: (-max(each[name] for each in shares), name is None, name or "")
    )
    return [
        {"category": name, "before": shares[0][name], "after": shares[1][name]} for name in largest[:MAX_CATEGORIES]
    ]


def _category_shares(catalogue: Catalogue, field: str, rows: Sequence[int]) -> Counter[str | None]:
    shares: Counter[str | None] = Counter()
    for values in catalogue.field_values(field, rows):
        for value in values or (None,):
            shares[_text(value)] += 1 / (max(1, len(values)) * len(rows))  # type: ignore[assignment]
    return shares


def _text(value: Value | None) -> str | None:
    plain = value[1] if isinstance(value, tuple) else value
    return None if plain is None else f"{plain:g}" if isinstance(plain, float) else str(plain)


def by_band(catalogue: Catalogue, by: ExposureBy, before: Sequence[int], after: Sequence[int]) -> list[dict[str, Any]]:
    """The bands, lowest first, each as the condition of a filter; the last is None: items without a number. Empty where
    no item has one; fewer bands where many items share a number."""
    prices = catalogue.numbers(by.band_field)
    shown = prices if catalogue.allowed is None else prices[catalogue.allowed[: len(prices)]]
    known = shown[np.isfinite(shown)]
    if not len(known):
        return []
    edges = np.unique(np.quantile(known, np.arange(1, by.n_bands) / by.n_bands, method="lower"))
    edges = edges[edges > known.min()]
    bands: list[dict[str, float] | None] = [
        _band(low, high) for low, high in zip([None, *edges], [*edges, None], strict=True)
    ]
    shares = [_band_shares(prices, edges, rows) for rows in (before, after)]
    return [
        {"price": band, "before": float(of_before), "after": float(of_after)}
        for band, of_before, of_after in zip([*bands, None], *shares, strict=True)
    ]


def _band(low: float | None, high: float | None) -> dict[str, float]:
    return ({} if low is None else {"gte": float(low)}) | ({} if high is None else {"lt": float(high)})


def _band_shares(prices: npt.NDArray[np.float64], edges: npt.NDArray[np.float64], rows: Sequence[int]) -> Any:
    """(len(edges) + 2,): the share of slots in each band, and without a price."""
    at = np.asarray(rows, np.int64)
    of_slots = np.where((at >= 0) & (at < len(prices)), prices[np.clip(at, 0, len(prices) - 1)], np.nan)
    band = np.where(np.isnan(of_slots), len(edges) + 1, np.searchsorted(edges, of_slots, side="right"))
    return np.bincount(band, minlength=len(edges) + 2) / max(1, len(at))
