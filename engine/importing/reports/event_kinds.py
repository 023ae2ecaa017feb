"""The words for kinds in a file of events: what each is taken for, in the space that the events go to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from engine.errors import NotFound
from engine.store import spaces
from engine.store.database.connections import Database
from engine.values.event_kinds import MAX_REPORTED_WORDS, Vocabulary
from engine.values.events import Weighting

DEFAULT = "default"  # the space that a command means where none is named


@dataclass(frozen=True)
class Word:
    word: str
    rows: int
    taken_as: str | None  # our kind; None for a word of the shop's own, and for one that nobody knows
    weight: float
    is_known: bool
    space: str = DEFAULT  # that the events go to

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.word,
            "rows": self.rows,
            "taken_as": self.taken_as,
            "weight": self.weight,
            "known": self.is_known,
        }

    def __str__(self) -> str:
        if self.taken_as is not None:
            return f"{self.rows:,} `{self.word}` taken as {self.taken_as}"
        if self.is_known:
            return f"{self.rows:,} `{self.word}` weigh {self.weight:g} each, as this space says"
        of = "" if self.space == DEFAULT else f"--space {self.space} "
        quoted = f"{self.word}=2".replace("'", "'\\''")  # as a shell reads it
        return (
            f"{self.rows:,} `{self.word}` are of no known kind: stored, and each weighs {self.weight:g} until you say "
            f"what it is worth, as with `nearfield weights {of}--kind '{quoted}'`"
        )


def vocabulary_of(database: Database, space_name: str) -> Vocabulary:
    """That of the space, or of one that is yet to be made."""
    try:
        with database.connect() as conn:
            return spaces.get(conn, space_name).weighting.vocabulary
    except NotFound:
        return Weighting().vocabulary


def words_of(kinds: pl.Series, vocabulary: Vocabulary, space_name: str) -> tuple[Word, ...]:
    """The words of a column, the most frequent first, at most TOLD of them."""
    found = [
        (word, rows, vocabulary.meaning(word)) for word, rows in _counts(kinds).head(MAX_REPORTED_WORDS).iter_rows()
    ]
    return tuple(Word(word, rows, each.kind, each.weight, each.is_known, space_name) for word, rows, each in found)


def rest(kinds: pl.Series, vocabulary: Vocabulary) -> list[str]:
    """What is told of the words of a column beyond TOLD."""
    left = _counts(kinds)[MAX_REPORTED_WORDS:]
    if left.is_empty():
        return []
    unknown = sum(not vocabulary.meaning(word).is_known for word in left["word"])
    return [
        f"{left['count'].sum():,} rows are of {left.height:,} more kinds, {unknown:,} of which are not known: "
        "is this the column of kinds?"
    ]


def _counts(kinds: pl.Series) -> pl.DataFrame:
    return kinds.rename("word").value_counts().sort(["count", "word"], descending=[True, False])


def purchases(kinds: pl.Series, vocabulary: Vocabulary) -> list[str]:
    """The words of a column that mean a purchase."""
    return [word for word in kinds.unique().drop_nulls().to_list() if vocabulary.kind(word) == "purchase"]
