"""Chunks of a batch for dense work over all items, so small that memory does not grow with the catalogue."""

from __future__ import annotations

MAX_FLOATS = 2**26  # of one (users, n_items) array; a batch of 512 is one chunk up to 131,072 items
MIN_USERS = 8  # in smaller chunks, reading the item table dominates the time


def users_per_chunk(n_items: int) -> int:
    """The number of users per chunk of a batch."""
    return max(MIN_USERS, MAX_FLOATS // max(n_items, 1))
