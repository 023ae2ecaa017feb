"""ResidentGenerations: the generations loaded on a device, each behind batchers; at most two for each space.

Loading a third generation of a space unloads its oldest. A generation that does not fit into memory evicts the older
generations of all spaces. A failed load is retried later.
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
MAX_PER_SPACE = 2  # the served generation and the next
FORGET_S = 10.0  # a failed load may be retried after this time
Load = Callable[[Path], dict[str, Searcher]]  # folder of a generation -> searchers by label


@dataclass(eq=False)
class ResidentGeneration:
    """One generation; it is loading while it has neither batchers nor an error."""

    batchers: dict[str, Batcher] | None = None
    failed: str = ""  # only the text, because a traceback would keep partly loaded indexes alive
    until: float = 0.0  # time.monotonic() from which a failed load may be retried


class ResidentGenerations:
    def __init__(self, load: Load, forget_s: float = FORGET_S):
        self._load, self._forget_s = load, forget_s
        self._resident: OrderedDict[Path, ResidentGeneration] = OrderedDict()  # in the order of first use
        self._lock = threading.Lock()

    def get(self, folder: Path) -> dict[str, Batcher] | None:
        """Label -> batcher of a generation; None while it loads. The first call starts loading.

        NearfieldError with the reason where loading failed.
        """
        with self._lock:
            resident = self._resident.get(folder)
            if resident is None or (resident.failed and time.monotonic() > resident.until):
                resident = self._resident[folder] = ResidentGeneration()
                self._resident.move_to_end(folder)
                threading.Thread(target=self._open, args=[folder, resident], daemon=True).start()
        if resident.failed:
            raise NearfieldError(resident.failed)
        return resident.batchers

    def _open(self, folder: Path, resident: ResidentGeneration) -> None:
        """Load a generation, after unloading the oldest of its space, because more may not fit."""
        self._make_room(folder)
        try:
            batchers = self._fitted(folder)
        except Exception as error:
            log.error("a generation could not be loaded", folder=str(folder), error=str(error))
            resident.until = time.monotonic() + self._forget_s
            resident.failed = f"{type(error).__name__}: {error}"
            return
        with self._lock:
            wanted = self._resident.get(folder) is resident
            if wanted:
                resident.batchers = batchers
        if not wanted:  # it was evicted while it was loading
            _close(batchers)

    def _fitted(self, folder: Path) -> dict[str, Batcher]:
        """Load; if it does not fit, evict the older generations of all spaces and load again."""
        try:
            return self._batchers(folder)
        except DeviceUnavailable as error:
            log.warning("a generation does not fit beside the older ones", folder=str(folder), error=str(error))
            if not self._drop_older(folder):
                raise
        return self._batchers(folder)  # outside `except`, where the error no longer keeps partly loaded indexes alive

    def _batchers(self, folder: Path) -> dict[str, Batcher]:
        """A batcher for each distinct searcher; labels may share one."""
        searchers = self._load(folder)
        distinct = {id(each): each for each in searchers.values()}
        made = {key: Batcher(each) for key, each in distinct.items()}
        return {label: made[id(searcher)] for label, searcher in searchers.items()}

    def _make_room(self, folder: Path) -> None:
        with self._lock:
            of_space = [each for each in self._resident if each.parent == folder.parent]
            dropped = [self._resident.pop(each) for each in of_space[:-MAX_PER_SPACE]]
        _close_all(dropped)

    def _drop_older(self, folder: Path) -> bool:
        """Unload all generations that are not the newest of their space; whether there was any."""
        with self._lock:
            last = {each.parent: each for each in self._resident}
            older = [each for each in self._resident if each not in (folder, last[each.parent])]
            dropped = [self._resident.pop(each) for each in older if self._resident[each].batchers is not None]
        n_dropped = len(dropped)
        _close_all(dropped)
        return n_dropped > 0


def _close_all(residents: list[ResidentGeneration]) -> None:
    """Close generations and drop the references to them, which frees their memory."""
    while residents:
        _close(residents.pop().batchers or {})


def _close(batchers: dict[str, Batcher]) -> None:
    for batcher in {id(each): each for each in batchers.values()}.values():
        batcher.close()
