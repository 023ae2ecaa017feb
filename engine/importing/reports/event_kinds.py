"""The kinds in a file of events: how the space interprets the word for each kind, and how often it occurs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from engine.errors import NotFound
from engine.store import spaces
from engine.store.database.connections import Database
from engine.values.event_kinds import MAX_REPORTED_WORDS, Vocabulary
from engine.values.events import Weighting

DEFAULT_SPACE = "default"  # of a command without --space


@dataclass(frozen=True)
class ReportedKind:
    word: str
    rows: int
    taken_as: str | None  # built-in kind; None for a word that the space defines, and for an unknown word
    weight: float
    is_known: bool
    space: str = DEFAULT_SPACE  # of the events

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
            return f"{self.rows:,} `{self.word}` with weight {self.weight:g} each, set in this space"
        option = "" if self.space == DEFAULT_SPACE else f"--space {self.space} "
        quoted = f"{self.word}=2".replace("'", "'\\''")  # for a shell
        return (
            f"{self.rows:,} `{self.word}` are of no known kind: they were stored with weight {self.weight:g} each; set "
            f"another weight with, for example, `nearfield weights {option}--kind '{quoted}'`"
        )


def space_vocabulary(database: Database, space_name: str) -> Vocabulary:
    """The vocabulary of the space; the default vocabulary for a space that does not exist yet."""
    try:
        with database.connect() as conn:
            return spaces.get(conn, space_name).weighting.vocabulary
    except NotFound:
        return Weighting().vocabulary


def report_kinds(words: pl.Series, vocabulary: Vocabulary, space_name: str) -> tuple[ReportedKind, ...]:
    """The words of a column, the most frequent first, at most MAX_REPORTED_WORDS of them."""
    meanings = [
        (word, rows, vocabulary.meaning(word)) for word, rows in _counts(words).head(MAX_REPORTED_WORDS).iter_rows()
    ]
    return tuple(
        ReportedKind(word, rows, meaning.kind, meaning.weight, meaning.is_known, space_name)
        for word, rows, meaning in meanings
    )


def unreported_kinds_note(words: pl.Series, vocabulary: Vocabulary) -> list[str]:
    """A note about the words of a column beyond MAX_REPORTED_WORDS."""
    rest = _counts(words)[MAX_REPORTED_WORDS:]
    if rest.is_empty():
        return []
    n_unknown = sum(not vocabulary.meaning(word).is_known for word in rest["word"])
    return [
        f"{rest['count'].sum():,} rows have {rest.height:,} more kinds, {n_unknown:,} of them unknown; check that the "
        "column mapped to kind is the right one"
    ]


def _counts(words: pl.Series) -> pl.DataFrame:
    return words.rename("word").value_counts().sort(["count", "word"], descending=[True, False])


def purchase_words(words: pl.Series, vocabulary: Vocabulary) -> list[str]:
    """The words of a column that mean a purchase."""
    return [word for word in words.unique().drop_nulls().to_list() if vocabulary.kind(word) == "purchase"]
