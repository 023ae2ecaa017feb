"""Events, histories, and the weighting of events that training and live histories share."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from engine.errors import InputError
from engine.values.event_kinds import KIND_WEIGHTS, Vocabulary

DAY_S = 86_400.0
VALUE_MODES = ("ignore", "log", "linear")
REPEAT_MODES = ("sum", "log", "binary")
PREDICT_MODES = ("new", "any")


@dataclass(frozen=True)
class Event:
    """One action of a user on an item.

    If `event_id` is None, it is derived from the other fields, so that an event sent twice is stored once.
    """

    user_id: str
    item_id: str
    kind: str
    occurred_at: datetime  # timezone-aware
    value: float = 1.0
    event_id: str | None = None
    order_id: str | None = None
    session_id: str | None = None


@dataclass(frozen=True)
class Weighting:
    """Weight of an event = kind weight x value x 2^(-age / half-life); a user-item cell is the saturated sum of these.

    A kind that is not listed weighs `other`; `vocabulary` maps the usual synonyms of a kind to it. A sum at or below
    zero leaves no cell: a return cancels its purchase.
    """

    kinds: Mapping[str, float] = field(default_factory=lambda: dict(KIND_WEIGHTS))
    other: float = 0.0
    half_life_days: float | None = None
    value: Literal["ignore", "log", "linear"] = "log"  # how the value of an event (a quantity) scales its weight
    repeat: Literal["sum", "log", "binary"] = "log"  # how the sum of a cell saturates; binary ignores kinds and ages
    predict: Literal["new", "any"] = "new"  # evaluation target: items new to the user, or any item

    def __post_init__(self) -> None:
        for name, mode, choices in (
            ("value", self.value, VALUE_MODES),
            ("repeat", self.repeat, REPEAT_MODES),
            ("predict", self.predict, PREDICT_MODES),
        ):
            if mode not in choices:
                raise InputError(f"expected a {name} of {', '.join(choices)}, got {mode!r}", loc=("weighting", name))
        if not all(math.isfinite(weight) for weight in (*self.kinds.values(), self.other)):
            raise InputError("expected finite weights", loc=("weighting", "kinds"))
        if self.half_life_days is not None and not 0 < self.half_life_days < math.inf:
            raise InputError(
                f"expected a half-life above 0 days, got {self.half_life_days}", loc=("weighting", "half_life_days")
            )

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary(self.kinds, self.other)

    def weigh(
        self,
        kinds: npt.NDArray[np.object_] | list[str],
        values: npt.NDArray[np.float32],
        ages_s: npt.NDArray[np.float64],
    ) -> npt.NDArray[np.float32]:
        """Signed weight of each event, (n,) float32; `ages_s` are the ages of the events in seconds."""
        if isinstance(kinds, list):  # a live history
            weight_of = {kind: self.vocabulary.meaning(kind).weight for kind in set(kinds)}
            kind_weights = np.array([weight_of[kind] for kind in kinds], dtype=np.float64)
        else:
            names, codes = np.unique(kinds.astype(str), return_inverse=True)
            table = np.array([self.vocabulary.meaning(str(name)).weight for name in names], dtype=np.float64)
            kind_weights = table[codes] if len(codes) else np.zeros(0)
        size = np.abs(values.astype(np.float64))
        scale = np.log2(1.0 + size) if self.value == "log" else size if self.value == "linear" else np.ones_like(size)
        weights = kind_weights * scale
        if self.half_life_days:
            weights = weights * np.exp2(-np.maximum(ages_s, 0.0) / (self.half_life_days * DAY_S))
        return weights.astype(np.float32)

    def saturate(self, sums: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        """Cell values for summed weights, same shape; sums at or below zero become 0, and callers drop such cells."""
        positive = np.maximum(sums, 0.0)
        if self.repeat == "sum":
            return positive.astype(np.float32)
        return (np.log1p(positive) if self.repeat == "log" else positive > 1e-6).astype(np.float32)


@dataclass(frozen=True, eq=False)
class EventColumns:
    """Many events as columns: rows into two id lists, a kind code per event, times in microseconds since 1970 UTC."""

    user_ids: tuple[str, ...]
    item_ids: tuple[str, ...]
    kinds: tuple[str, ...]  # code -> kind
    user_rows: npt.NDArray[np.int64]
    item_rows: npt.NDArray[np.int64]
    kind_codes: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]
    occurred_us: npt.NDArray[np.int64]
    baskets: npt.NDArray[np.int64] | None = None  # a number for the order or session of an event, 0: neither is known

    def __len__(self) -> int:
        return len(self.user_rows)


@dataclass(frozen=True, eq=False)
class History:
    """The events of one user, newest first."""

    item_ids: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    values: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    occurred_us: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.item_ids)

    def followed_by(self, older: History) -> History:
        """A history of these events followed by the `older` ones."""
        return History(
            self.item_ids + older.item_ids,
            self.kinds + older.kinds,
            np.concatenate([self.values, older.values]),
            np.concatenate([self.occurred_us, older.occurred_us]),
        )


def view_history(item_ids: Sequence[str], now_us: int) -> History:
    """The history of a user who views these items at `now_us`."""
    n = len(item_ids)
    return History(tuple(item_ids), ("view",) * n, np.ones(n, np.float32), np.full(n, now_us, np.int64))


def derive_event_id(
    user_id: str,
    item_id: str,
    kind: str,
    value: float,
    occurred_us: int,
    extra: str = "",
    order_id: str | None = None,
) -> str:
    """An id derived from the fields, so that an event sent twice has one id; `extra` distinguishes equal events.

    Purchases of an item in two orders on one day are two events. The session does not count: a file may be imported
    again with a column of sessions that it did not have before.
    """
    fields = [user_id, item_id, kind, f"{value:.9g}", str(occurred_us), extra]
    text = "\x1f".join(fields if order_id is None else [*fields, order_id])
    return hashlib.sha256(text.encode()).hexdigest()[:32]
