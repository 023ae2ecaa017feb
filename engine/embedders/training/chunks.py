"""Pieces of a batch small enough for dense work over all items, so that memory does not grow with the catalogue."""

from __future__ import annotations

LARGEST = 2**26  # floats of one (users, n_items) array: a batch of 512 is whole up to 131,072 items
FEWEST = 8  # users: of a piece of fewer, reading the table takes all of the time


def users_at_once(n_items: int) -> int:
    """How many users of a batch are worked on together where their work is dense."""
    return max(FEWEST, LARGEST // max(n_items, 1))
