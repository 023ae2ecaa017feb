"""TypeNote: what an import tells of the cells of one attribute."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from engine.catalogue.attribute_types import DESCRIPTIONS, AttributeType

THOUSAND = re.compile(r"(?<![0-9])[1-9][0-9]{0,2}[.,][0-9]{3}(?![0-9])")  # or a fraction of three digits


@dataclass(frozen=True)
class TypeNote:
    """`unfit`: cells that are not of the type. `odd`: numbers that are written in other ways than programs do."""

    name: str
    kind: AttributeType
    unfit: int
    unfit_examples: tuple[str, ...]
    odd: int
    odd_examples: tuple[tuple[str, float], ...]
    currencies: tuple[str, ...]
    rejects: bool
    other: AttributeType | None = None  # what every cell of the file is, where the space takes them as text

    def lines(self) -> list[str]:
        found = []
        if self.unfit:
            done = "rejected with their rows" if self.rejects else "left out"
            found.append(
                f"{self.name} is {DESCRIPTIONS[self.kind]}, and {_cells(self.unfit, 'is', 'are')} not, such as "
                f"{', '.join(map(repr, self.unfit_examples))}: {done}; {self._remedy()}"
            )
        if self.odd:
            read = ", ".join(f"{text!r} as {value:g}" for text, value in self.odd_examples)
            found.append(
                f"{self.name} is {DESCRIPTIONS[self.kind]}: {_cells(self.odd, 'was', 'were')} read so, such as {read}"
            )
        if self.other is not None:
            found.append(
                f"{self.name} is text in this space, and every cell of this file is {DESCRIPTIONS[self.other]}; "
                f"to take them so: --type {self.name}={self.other}"
            )
        if len(self.currencies) > 1:
            found.append(
                f"{self.name} has {len(self.currencies)} currencies, {', '.join(self.currencies)}; the numbers stand "
                "side by side as if they were one"
            )
        return found

    def _remedy(self) -> str:
        for text in self.unfit_examples:
            if self.kind == "number" and THOUSAND.search(text):
                return f"say what {text} means with --decimal comma or --decimal point"
        return f"if they are right, say so with --type {self.name}=text"

    def to_json(self) -> dict[str, Any]:
        return {
            "attribute": self.name,
            "type": self.kind,
            "unfit": self.unfit,
            "unfit_examples": list(self.unfit_examples),
            "read": self.odd,
            "read_examples": dict(self.odd_examples),
            "currencies": list(self.currencies),
        }


def _cells(n: int, one: str, more: str) -> str:
    return f"1 cell {one}" if n == 1 else f"{n:,} cells {more}"
