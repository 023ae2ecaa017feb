"""Splits of events and interactions into a training part and a test part."""

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
    """`test` has the rows and columns of `train`. No cell is in both, unless `repeats`: items taken up again count."""

    train: Interactions
    test: sp.csr_matrix
    repeats: bool = False
    events: EventColumns | None = None  # of which `train` was made; None if it was made of interactions
    weighting: Weighting = field(default_factory=Weighting)  # of the training events


def by_time(events: EventColumns, weighting: Weighting, share: float = 0.1, until_us: int | None = None) -> Split:
    """Train on the events up to a time; test on later events of users and items that are known by then.

    The test part has only items that are new to the user, unless the weighting predicts any item. The time is
    `until_us`, or the one that leaves `share` of the events after it. Weights are computed at that time.
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
    """Leave-one-out: test on the last item of each user, train on all other events.

    A user with one item is trained on and not tested. Weights are computed at the time of the last event.
    """
    if len(events) == 0:
        raise NotEnoughData("there are no events to learn from; import some with `nearfield import events FILE`")
    order = np.lexsort((events.item_rows, events.occurred_us, events.user_rows))
    users = events.user_rows[order]
    ends = np.flatnonzero(np.append(users[1:] != users[:-1], True))
    last_item = np.full(len(events.user_ids), -1, dtype=np.int64)
    last_item[users[ends]] = events.item_rows[order[ends]]
    pairs = np.unique(np.stack([events.user_rows, events.item_rows]), axis=1)
    has_several = np.bincount(pairs[0], minlength=len(last_item)) > 1
    held_out = (events.item_rows == last_item[events.user_rows]) & has_several[events.user_rows]
    now = int(events.occurred_us.max())
    train_events = select_events(events, ~held_out)
    train = from_events(train_events, weighting, now)
    later = from_events(select_events(events, held_out), replace(weighting, half_life_days=None), now)
    return Split(train, _without(_aligned(later, train), train.matrix), events=train_events, weighting=weighting)


def events_at_random(events: EventColumns, weighting: Weighting, share: float = 0.1, seed: int = 0) -> Split:
    """`at_random` of the interactions of events, weighted at the time of the last event."""
    if len(events) == 0:
        raise NotEnoughData("there are no events to learn from; import some with `nearfield import events FILE`")
    everything = from_events(events, weighting, int(events.occurred_us.max()))
    return replace(at_random(everything, share, seed), weighting=weighting)


def at_random(interactions: Interactions, share: float = 0.2, seed: int = 0) -> Split:
    """Test on a random share of the cells of each user, rounded down."""
    matrix = interactions.matrix
    draw = np.random.default_rng(seed).random(matrix.nnz)
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((draw, rows))
    rank = np.arange(matrix.nnz) - matrix.indptr[rows[order]]
    held_out = np.zeros(matrix.nnz, dtype=bool)
    held_out[order] = rank < np.floor(share * np.diff(matrix.indptr))[rows[order]]
    return Split(interactions.select_cells(~held_out), interactions.select_cells(held_out).matrix)


def has_times(events: EventColumns, share: float = 0.1) -> bool:
    """Whether the times of the events can divide them: false if one time was assigned to all; true without events."""
    return len(events) == 0 or _cut(events, share) < int(events.occurred_us.max())


def by_time_or_random(events: EventColumns, weighting: Weighting, share: float = 0.1, seed: int = 0) -> Split:
    """`by_time`, or `events_at_random` if the events have no times."""
    if has_times(events, share):
        return by_time(events, weighting, share)
    return events_at_random(events, weighting, share, seed)


def validation_split(events: EventColumns, weighting: Weighting, share: float = 0.1, seed: int = 0) -> Split:
    """A second split inside the training part of `by_time_or_random`, for model selection without the test part."""
    if has_times(events, share):
        return by_time_or_random(without_latest(events, share), weighting, share, seed)
    return random_validation_split(by_time_or_random(events, weighting, share, seed), share, seed)


def random_validation_split(split: Split, share: float = 0.1, seed: int = 0) -> Split:
    """A random split inside the training part of `split`, for model selection where events have no times."""
    return at_random(split.train, share, seed + 1)


def without_latest(events: EventColumns, share: float = 0.1) -> EventColumns:
    """The events without the latest `share`: those that `by_time` trains on."""
    return select_events(events, events.occurred_us <= _cut(events, share))


def select_events(events: EventColumns, selected: npt.NDArray[np.bool_]) -> EventColumns:
    """The events where `selected` (n,) is true, with all users, items and kinds."""
    return replace(
        events,
        user_rows=events.user_rows[selected],
        item_rows=events.item_rows[selected],
        kind_codes=events.kind_codes[selected],
        values=events.values[selected],
        occurred_us=events.occurred_us[selected],
        baskets=None if events.baskets is None else events.baskets[selected],
    )


def _cut(events: EventColumns, share: float) -> int:
    """The time in microseconds that leaves `share` of the events after it."""
    return int(np.quantile(events.occurred_us, 1 - share))


def _aligned(later: Interactions, train: Interactions) -> sp.csr_matrix:
    """The cells of `later` whose user and item are in `train`, in the rows and columns of `train`."""
    cells = later.matrix.tocoo()
    users = np.array([-1 if (row := train.users.row(id_)) is None else row for id_ in later.users.ids], dtype=np.int64)
    items = np.array([-1 if (row := train.items.row(id_)) is None else row for id_ in later.items.ids], dtype=np.int64)
    rows, columns = users[cells.row], items[cells.col]
    known = (rows >= 0) & (columns >= 0)
    shape = train.matrix.shape
    return sp.csr_matrix((cells.data[known], (rows[known], columns[known])), shape=shape, dtype=np.float32)


def _without(cells: sp.csr_matrix, seen: sp.csr_matrix) -> sp.csr_matrix:
    remaining = sp.csr_matrix(cells - cells.multiply(seen > 0))
    remaining.eliminate_zeros()
    return remaining
