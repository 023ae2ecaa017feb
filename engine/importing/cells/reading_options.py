"""ReadingOptions: the options of an import for cells that can be read in more than one way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from engine.catalogue.attribute_types import AttributeType
from engine.catalogue.number_text import Decimal
from engine.errors import InputError
from engine.importing.cells.date_format import check_date_format

UnfitAction = Literal["leave", "reject"]
UNFIT_ACTIONS: tuple[UnfitAction, ...] = ("leave", "reject")
DECIMALS: tuple[Decimal, ...] = ("comma", "point")


@dataclass(frozen=True)
class ReadingOptions:
    """How to parse cells.

    `types` become the attribute types of the space. `unfit` is the action for a cell that does not fit the type of its
    attribute: leave the cell out, or reject the row. `decimal` decides ambiguous numbers such as `12,500` and `1.234`.
    `date_format` is the strptime format of times. `separators` separate the categories in a cell; by default `|`, and
    the elements of a list are not split. Ids among `missing_ids` count as missing.
    """

    types: Mapping[str, AttributeType] = field(default_factory=dict)
    unfit: UnfitAction = "leave"
    decimal: Decimal | None = None
    date_format: str | None = None
    separators: tuple[str, ...] = ()
    missing_ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.date_format is not None:
            check_date_format(self.date_format)
        if not all(self.separators):
            raise InputError("expected a separator of categories, such as '>', got an empty text")
        if self.unfit not in UNFIT_ACTIONS:
            raise InputError(f"expected {' or '.join(UNFIT_ACTIONS)} for cells that do not fit, got {self.unfit!r}")
        if self.decimal is not None and self.decimal not in DECIMALS:
            raise InputError(f"expected a decimal {' or '.join(DECIMALS)}, got {self.decimal!r}")


DEFAULT_OPTIONS = ReadingOptions()
