"""Held: the generations that an owner has on its device, each behind batchers; a third of a space ends its oldest.

One that does not fit beside the older ones of the spaces takes their place. A load that failed is tried again later.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from engine.errors import DeviceUnavailable, NearfieldError
from engine.recommending.values.searcher import Searcher
from indexing.gpu.batching import Batcher

log = structlog.get_logger()
GENERATIONS = 2  # of a space, held at a time: the served one and the next
FORGET_S = 10.0  # after a load failed
Load = Callable[[Path], dict[str, Searcher]]  # the searchers of a generation's folder by label


@dataclass(eq=False)
class Holding:
    """One generation: it loads while it has neither batchers nor a reason why not."""

    batchers: dict[str, Batcher] | None = None
    failed: str = ""  # the text alone: an error's traceback would keep what was loaded in part
    until: float = 0.0  # on the monotonic clock: what failed is tried again after it


class Held:
    def __init__(self, load: Load, forget_s: float = FORGET_S):
        self._load, self._forget_s = load, forget_s
        self._held: OrderedDict[Path, Holding] = OrderedDict()  # the first asked for first
        self._lock = threading.Lock()

    def get(self, folder: Path) -> dict[str, Batcher] | None:
        """The batchers of a generation by label; None while it loads, which the first call begins.

        NearfieldError says why it could not be loaded.
        """
        with self._lock:
            holding = self._held.get(folder)
            if holding is None or (holding.failed and time.monotonic() > holding.until):
                holding = self._held[folder] = Holding()
                self._held.move_to_end(folder)
                threading.Thread(target=self._open, args=[folder, holding], daemon=True).start()
        if holding.failed:
            raise NearfieldError(holding.failed)
        return holding.batchers

    def _open(self, folder: Path, holding: Holding) -> None:
        """The oldest generation of the space goes first: more of them may not fit."""
        self._make_room(folder)
        try:
            batchers = self._fitted(folder)
        except Exception as error:
            log.error("a generation could not be loaded", folder=str(folder), error=str(error))
            holding.until = time.monotonic() + self._forget_s
            holding.failed = f"{type(error).__name__}: {error}"
            return
        with self._lock:
            wanted = self._held.get(folder) is holding
            if wanted:
                holding.batchers = batchers
        if not wanted:  # others came while it loaded
            _close(batchers)

    def _fitted(self, folder: Path) -> dict[str, Batcher]:
        """Loaded; where that does not fit, once more after the older ones of every space have gone."""
        try:
            return self._batchers(folder)
        except DeviceUnavailable as error:
            log.warning("a generation does not fit beside the older ones", folder=str(folder), error=str(error))
            if not self._drop_older(folder):
                raise
        return self._batchers(folder)  # out here, where the error no longer keeps what was loaded in part

    def _batchers(self, folder: Path) -> dict[str, Batcher]:
        """One for each searcher; labels may share it."""
        searchers = self._load(folder)
        distinct = {id(each): each for each in searchers.values()}
        made = {key: Batcher(each) for key, each in distinct.items()}
        return {label: made[id(searcher)] for label, searcher in searchers.items()}

    def _make_room(self, folder: Path) -> None:
        with self._lock:
            of_space = [each for each in self._held if each.parent == folder.parent]
            dropped = [self._held.pop(each) for each in of_space[:-GENERATIONS]]
        _close_all(dropped)

    def _drop_older(self, folder: Path) -> bool:
        """Whether there was something loaded that could go: what is not the last of its space."""
        with self._lock:
            last = {each.parent: each for each in self._held}
            older = [each for each in self._held if each not in (folder, last[each.parent])]
            dropped = [self._held.pop(each) for each in older if self._held[each].batchers is not None]
        went = len(dropped)
        _close_all(dropped)
        return went > 0


def _close_all(holdings: list[Holding]) -> None:
    """End them and let go of them: with the last reference their memory is free."""
    while holdings:
        _close(holdings.pop().batchers or {})


def _close(batchers: dict[str, Batcher]) -> None:
    for batcher in {id(each): each for each in batchers.values()}.values():
        batcher.close()
