"""Splits of events and interactions into what is learnt from and what is predicted."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from engine.errors import NotEnoughData
from engine.values.events import EventColumns, Weighting
from engine.values.interactions import Interactions, from_events


@dataclass(frozen=True, eq=False)
class Split:
    """`test` has the rows and columns of `train`; no cell is in both, unless what was had before counts again."""

    train: Interactions
    test: sp.csr_matrix
    repeats: bool = False
    events: EventColumns | None = None  # that `train` was made of, where it was
    weighting: Weighting = field(default_factory=Weighting)  # by which


def by_time(events: EventColumns, weighting: Weighting, share: float = 0.1, until_us: int | None = None) -> Split:
    """Learn from everything before a moment, predict what known users take up after it, of items known before.

    Only what is new to the user, unless the weighting predicts any.
    The moment is `until_us`, or leaves `share` of the events after it. Weights are as of that moment.
    """
    if len(events) == 0:
        raise NotEnoughData("there are no events to learn from; import some with `nearfield import events FILE`")
    cut = _cut(events, share) if until_us is None else until_us
    is_before = events.occurred_us <= cut
    before = select_events(events, is_before)
    train = from_events(before, weighting, cut)
    later = from_events(select_events(events, ~is_before), replace(weighting, half_life_days=None), cut)
    test, repeats = _aligned(later, train), weighting.predict == "any"
    return Split(train, test if repeats else _without(test, train.matrix), repeats, before, weighting)


def leave_last_out(events: EventColumns, weighting: Weighting) -> Split:
    """Learn from all events of a user but those of the item taken up last, which is to be predicted.

    Users of one item are learnt from and not scored. Weights are as of the last event.
    """
    if len(events) == 0:
        raise NotEnoughData("there are no events to learn from; import some with `nearfield import events FILE`")
    order = np.lexsort((events.item_rows, events.occurred_us, events.user_rows))
    users = events.user_rows[order]
    ends = np.flatnonzero(np.append(users[1:] != users[:-1], True))
    last_item = np.full(len(events.user_ids), -1, dtype=np.int64)
    last_item[users[ends]] = events.item_rows[order[ends]]
    pairs = np.unique(np.stack([events.user_rows, events.item_rows]), axis=1)
    several = np.bincount(pairs[0], minlength=len(last_item)) > 1
    held = (events.item_rows == last_item[events.user_rows]) & several[events.user_rows]
    now = int(events.occurred_us.max())
    left = select_events(events, ~held)
    train = from_events(left, weighting, now)
    later = from_events(select_events(events, held), replace(weighting, half_life_days=None), now)
    return Split(train, _without(_aligned(later, train), train.matrix), events=left, weighting=weighting)


def events_at_random(events: EventColumns, weighting: Weighting, share: float = 0.1, seed: int = 0) -> Split:
    """As `at_random`, of events; weights are as of the last event."""
    if len(events) == 0:
        raise NotEnoughData("there are no events to learn from; import some with `nearfield import events FILE`")
    everything = from_events(events, weighting, int(events.occurred_us.max()))
    return replace(at_random(everything, share, seed), weighting=weighting)


def at_random(interactions: Interactions, share: float = 0.2, seed: int = 0) -> Split:
    """A share of the cells of each user, rounded down, goes to test."""
    matrix = interactions.matrix
    draw = np.random.default_rng(seed).random(matrix.nnz)
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((draw, rows))
    rank = np.arange(matrix.nnz) - matrix.indptr[rows[order]]
    held = np.zeros(matrix.nnz, dtype=bool)
    held[order] = rank < np.floor(share * np.diff(matrix.indptr))[rows[order]]
    return Split(interactions.select_cells(~held), interactions.select_cells(held).matrix)


def has_times(events: EventColumns, share: float = 0.1) -> bool:
    """Whether anything happened after the moment that leaves the last `share`: not where one time was given to all.

    True without any events.
    """
    return len(events) == 0 or _cut(events, share) < int(events.occurred_us.max())


def by_time_or_random(events: EventColumns, weighting: Weighting, share: float = 0.1, seed: int = 0) -> Split:
    """`by_time`, or `random_cells` of events without times."""
    if has_times(events, share):
        return by_time(events, weighting, share)
    return events_at_random(events, weighting, share, seed)


def validation_split(events: EventColumns, weighting: Weighting, share: float = 0.1, seed: int = 0) -> Split:
    """As `newest`, of what that learns from: for choices, which may not see what is predicted in the end."""
    if has_times(events, share):
        return by_time_or_random(without_latest(events, share), weighting, share, seed)
    return random_validation_split(by_time_or_random(events, weighting, share, seed), share, seed)


def random_validation_split(split: Split, share: float = 0.1, seed: int = 0) -> Split:
    """A random part of what `split` learns from is predicted, for choices before a split that no moment divides."""
    return at_random(split.train, share, seed + 1)


def without_latest(events: EventColumns, share: float = 0.1) -> EventColumns:
    """What `by_time` learns from: the events without the last `share` of them."""
    return select_events(events, events.occurred_us <= _cut(events, share))


def select_events(events: EventColumns, select_events: npt.NDArray[np.bool_]) -> EventColumns:
    return replace(
        events,
        user_rows=events.user_rows[select_events],
        item_rows=events.item_rows[select_events],
        kind_codes=events.kind_codes[select_events],
        values=events.values[select_events],
        occurred_us=events.occurred_us[select_events],
    )


def _cut(events: EventColumns, share: float) -> int:
    """The moment, in microseconds, that leaves `share` of the events after it."""
    return int(np.quantile(events.occurred_us, 1 - share))


def _aligned(later: Interactions, train: Interactions) -> sp.csr_matrix:
    """The cells of `later` whose user and item `train` knows, in its rows and columns."""
    cells = later.matrix.tocoo()
    users = np.array([-1 if (row := train.users.row(id_)) is None else row for id_ in later.users.ids], dtype=np.int64)
    items = np.array([-1 if (row := train.items.row(id_)) is None else row for id_ in later.items.ids], dtype=np.int64)
    rows, columns = users[cells.row], items[cells.col]
    known = (rows >= 0) & (columns >= 0)
    shape = train.matrix.shape
    return sp.csr_matrix((cells.data[known], (rows[known], columns[known])), shape=shape, dtype=np.float32)


def _without(cells: sp.csr_matrix, seen: sp.csr_matrix) -> sp.csr_matrix:
    left = sp.csr_matrix(cells - cells.multiply(seen > 0))
    left.eliminate_zeros()
    return left
