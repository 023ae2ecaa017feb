"""Held: the generations that an owner has on its device, each behind batchers; a third ends the oldest."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from engine.errors import NearfieldError
from engine.recommend import Searcher
from indexing.batching import Batcher

log = structlog.get_logger()
GENERATIONS = 2  # held at a time: the served one and the next
Load = Callable[[Path], dict[str, Searcher]]  # the searchers of a generation's folder by label


@dataclass(eq=False)
class Holding:
    """One generation: it loads while it has neither batchers nor a reason why not."""

    batchers: dict[str, Batcher] | None = None
    failed: str = ""  # the text alone: an error's traceback would keep what was loaded in part


class Held:
    def __init__(self, load: Load):
        self._load = load
        self._held: OrderedDict[Path, Holding] = OrderedDict()  # the first asked for first
        self._lock = threading.Lock()

    def get(self, folder: Path) -> dict[str, Batcher] | None:
        """The batchers of a generation by label; None while it loads, which the first call begins."""
        with self._lock:
            holding = self._held.get(folder)
            if holding is None:
                holding = self._held[folder] = Holding()
                threading.Thread(target=self._open, args=[folder, holding], daemon=True).start()
        if holding.failed:
            raise NearfieldError(holding.failed)
        return holding.batchers

    def _open(self, folder: Path, holding: Holding) -> None:
        """The oldest generation goes first: more of them may not fit."""
        self._keep(GENERATIONS)
        try:
            batchers = self._batchers(folder)
        except Exception as error:
            log.error("a generation could not be loaded", folder=str(folder), error=str(error))
            holding.failed = f"{type(error).__name__}: {error}"
            return
        with self._lock:
            wanted = self._held.get(folder) is holding
            if wanted:
                holding.batchers = batchers
        if not wanted:  # others came while it loaded
            _close(batchers)

    def _batchers(self, folder: Path) -> dict[str, Batcher]:
        """One for each searcher; labels may share it."""
        searchers = self._load(folder)
        distinct = {id(each): each for each in searchers.values()}
        made = {key: Batcher(each) for key, each in distinct.items()}
        return {label: made[id(searcher)] for label, searcher in searchers.items()}

    def _keep(self, most: int) -> None:
        """End the oldest; with what this function held of them their memory is free."""
        dropped = []
        with self._lock:
            while len(self._held) > most:
                dropped.append(self._held.popitem(last=False)[1])
        for holding in dropped:
            _close(holding.batchers or {})


def _close(batchers: dict[str, Batcher]) -> None:
    for batcher in {id(each): each for each in batchers.values()}.values():
        batcher.close()
