"""TypeNote: the report of an import about the cells of one attribute."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from engine.catalogue.attribute_types import DESCRIPTIONS, AttributeType

THOUSAND = re.compile(r"(?<![0-9])[1-9][0-9]{0,2}[.,][0-9]{3}(?![0-9])")  # thousands, or a fraction of three digits


@dataclass(frozen=True)
class TypeNote:
    """`unfit` counts cells that are not of the type, `unusual` counts numbers in an unusual format such as €12."""

    name: str
    kind: AttributeType
    unfit: int
    unfit_examples: tuple[str, ...]
    unusual: int
    unusual_examples: tuple[tuple[str, float], ...]
    currencies: tuple[str, ...]
    rejects: bool
    file_type: AttributeType | None = None  # of every cell of the file, when the space stores the attribute as text

    def lines(self) -> list[str]:
        lines = []
        if self.unfit:
            action = "rejected with their rows" if self.rejects else "left out"
            lines.append(
                f"{self.name} is {DESCRIPTIONS[self.kind]}, and {_cells(self.unfit, 'is', 'are')} not, such as "
                f"{', '.join(map(repr, self.unfit_examples))}: {action}; {self._remedy()}"
            )
        if self.unusual:
            converted = ", ".join(f"{text!r} as {value:g}" for text, value in self.unusual_examples)
            cells = _cells(self.unusual, "was", "were")
            lines.append(f"{self.name} is {DESCRIPTIONS[self.kind]}: {cells} converted, such as {converted}")
        if self.file_type is not None:
            lines.append(
                f"{self.name} is text in this space, and every cell of this file is {DESCRIPTIONS[self.file_type]}; "
                f"to change the type give --type {self.name}={self.file_type}"
            )
        if len(self.currencies) > 1:
            lines.append(
                f"{self.name} has {len(self.currencies)} currencies, {', '.join(self.currencies)}; the amounts were "
                "stored without conversion and are compared as if they had one currency"
            )
        return lines

    def _remedy(self) -> str:
        for text in self.unfit_examples:
            if self.kind == "number" and THOUSAND.search(text):
                return f"to read {text} give --decimal comma or --decimal point"
        return f"to store these cells give --type {self.name}=text"

    def to_json(self) -> dict[str, Any]:
        return {
            "attribute": self.name,
            "type": self.kind,
            "unfit": self.unfit,
            "unfit_examples": list(self.unfit_examples),
            "read": self.unusual,
            "read_examples": dict(self.unusual_examples),
            "currencies": list(self.currencies),
        }


def _cells(n: int, singular: str, plural: str) -> str:
    return f"1 cell {singular}" if n == 1 else f"{n:,} cells {plural}"
