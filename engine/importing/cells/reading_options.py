"""Reading: what the caller says of the cells of a file, where the file alone does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from engine.catalogue.attribute_types import AttributeType
from engine.catalogue.number_text import Decimal
from engine.errors import InputError
from engine.importing.cells.date_format import check_format

Unfit = Literal["leave", "reject"]
UNFIT: tuple[Unfit, ...] = ("leave", "reject")
DECIMALS: tuple[Decimal, ...] = ("comma", "point")


@dataclass(frozen=True)
class Reading:
    """`types` become those of the space. `unfit`: a cell that is not of its attribute's type is left out, or its row
    is rejected. `decimal`: what `12,500` and `1.234` mean. `date_format`: how times are written, as strptime has it.
    `separators`: what stands between categories; none: `|`, and a list is one as it stands. `missing_ids` stand for no
    id."""

    types: Mapping[str, AttributeType] = field(default_factory=dict)
    unfit: Unfit = "leave"
    decimal: Decimal | None = None
    date_format: str | None = None
    separators: tuple[str, ...] = ()
    missing_ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.date_format is not None:
            check_format(self.date_format)
        if not all(self.separators):
            raise InputError("expected text that stands between categories, such as '>', got none")
        if self.unfit not in UNFIT:
            raise InputError(f"expected {' or '.join(UNFIT)} for cells that do not fit, got {self.unfit!r}")
        if self.decimal is not None and self.decimal not in DECIMALS:
            raise InputError(f"expected a decimal {' or '.join(DECIMALS)}, got {self.decimal!r}")


AS_IT_IS = Reading()
