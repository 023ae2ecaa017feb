"""ImportSummary: the result of an import, with counts of rows and notes for the user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.importing.cells.type_note import TypeNote
from engine.importing.reports.event_kinds import ReportedKind


@dataclass(frozen=True)
class RejectedSample:
    """A rejected row with the values of the file; `row` counts the data rows from 1."""

    reason: str
    row: int
    values: Mapping[str, object]


@dataclass(frozen=True)
class ImportSummary:
    """`read` is the sum of `written`, `duplicates` and all counts of `rejected`."""

    read: int
    written: int
    duplicates: int
    rejected: Mapping[str, int]  # reason -> rows
    samples: tuple[RejectedSample, ...]  # the first few of each reason
    seconds: float
    kinds: tuple[ReportedKind, ...] | None = None  # of a file of events
    attributes: tuple[TypeNote, ...] = ()  # of attributes with cells to report
    differing: Mapping[str, int] = field(default_factory=dict)  # field -> ids whose rows have different values
    hidden: int | None = None  # items that a whole-catalogue file did not contain
    back: int = 0  # items that such a file had hidden, and that are shown again
    notes: tuple[str, ...] = ()  # further notes, a sentence each

    def to_json(self) -> dict[str, Any]:
        return {
            "read": self.read,
            "written": self.written,
            "duplicates": self.duplicates,
            "rejected": dict(self.rejected),
            **({} if self.kinds is None else {"kinds": [kind.to_json() for kind in self.kinds]}),
            **({"attributes": [note.to_json() for note in self.attributes]} if self.attributes else {}),
            **({"differing": dict(self.differing)} if self.differing else {}),
            **({} if self.hidden is None else {"hidden": self.hidden}),
            **({"back": self.back} if self.back else {}),
            **({"notes": list(self.notes)} if self.notes else {}),
            "seconds": round(self.seconds, 3),
        }
