"""ImportSummary: what became of the rows of a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.importing.cells.type_note import TypeNote
from engine.importing.reports.event_kinds import Word


@dataclass(frozen=True)
class Sample:
    """A rejected row, as it stands in the file; `row` counts the rows of data from 1."""

    reason: str
    row: int
    values: Mapping[str, object]


@dataclass(frozen=True)
class ImportSummary:
    """`read` is the sum of `written`, `duplicates` and every count of `rejected`."""

    read: int
    written: int
    duplicates: int
    rejected: Mapping[str, int]  # reason -> rows
    samples: tuple[Sample, ...]  # the first few of each reason
    seconds: float
    words: tuple[Word, ...] | None = None  # for kinds, of a file of events
    attributes: tuple[TypeNote, ...] = ()  # those of which something is to be told
    differing: Mapping[str, int] = field(default_factory=dict)  # field -> ids whose rows have several values
    hidden: int | None = None  # items that a file which replaced the catalogue had no more
    back: int = 0  # items that were hidden so, and are shown again
    notes: tuple[str, ...] = ()  # what else is to be told, a sentence each

    def to_json(self) -> dict[str, Any]:
        return {
            "read": self.read,
            "written": self.written,
            "duplicates": self.duplicates,
            "rejected": dict(self.rejected),
            **({} if self.words is None else {"kinds": [word.to_json() for word in self.words]}),
            **({"attributes": [note.to_json() for note in self.attributes]} if self.attributes else {}),
            **({"differing": dict(self.differing)} if self.differing else {}),
            **({} if self.hidden is None else {"hidden": self.hidden}),
            **({"back": self.back} if self.back else {}),
            **({"notes": list(self.notes)} if self.notes else {}),
            "seconds": round(self.seconds, 3),
        }
