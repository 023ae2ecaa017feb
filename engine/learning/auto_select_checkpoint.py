"""Kept: the trials of a race so far, so that one that was killed goes on with the next entry."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from engine.checkpoints import Checkpoints
from engine.evaluation.validation_set import ValidationSet
from engine.learning.trials import Trial


@dataclass(frozen=True, eq=False)
class RaceCheckpoint:
    """Of one race, which is known by its data and settings."""

    checkpoints: Checkpoints | None = None
    fingerprint: str = ""

    @staticmethod
    def of(on: ValidationSet, checkpoints: Checkpoints | None, what: str) -> RaceCheckpoint:
        if checkpoints is None:
            return NO_CHECKPOINT
        digest = hashlib.sha256(what.encode())
        for matrix in (on.train.matrix, on.test):
            for array in (matrix.indptr, matrix.indices, matrix.data):
                digest.update(np.ascontiguousarray(array).tobytes())
        return RaceCheckpoint(checkpoints, f"race-{digest.hexdigest()[:32]}")

    def read(self) -> list[Trial]:
        content = None if self.checkpoints is None else self.checkpoints.read(self.fingerprint)
        if self.checkpoints is None or content is None:
            return []
        trials = [Trial.from_json(each) for each in orjson.loads(content)]
        self.checkpoints.messages.append(f"the race went on after {len(trials)} entries")
        return trials

    def write(self, trials: Sequence[Trial]) -> None:
        if self.checkpoints is not None:
            self.checkpoints.write(self.fingerprint, orjson.dumps([trial.to_json() for trial in trials]))


NO_CHECKPOINT = RaceCheckpoint()
