"""A checkpoint of the race of `auto_select`: its trials so far, so that a killed race resumes with the next entry."""

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
    """The trials of one race, which is identified by its data and settings; without `checkpoints` nothing is saved."""

    checkpoints: Checkpoints | None = None
    fingerprint: str = ""

    @staticmethod
    def of(validation: ValidationSet, checkpoints: Checkpoints | None, settings: str) -> RaceCheckpoint:
        if checkpoints is None:
            return NO_CHECKPOINT
        digest = hashlib.sha256(settings.encode())
        for matrix in (validation.train.matrix, validation.test):
            for array in (matrix.indptr, matrix.indices, matrix.data):
                digest.update(np.ascontiguousarray(array).tobytes())
        return RaceCheckpoint(checkpoints, f"race-{digest.hexdigest()[:32]}")

    def read(self) -> list[Trial]:
        content = None if self.checkpoints is None else self.checkpoints.read(self.fingerprint)
        if self.checkpoints is None or content is None:
            return []
        trials = [Trial.from_json(each) for each in orjson.loads(content)]
        self.checkpoints.messages.append(f"the race resumed after {len(trials)} entries")
        return trials

    def write(self, trials: Sequence[Trial]) -> None:
        if self.checkpoints is not None:
            self.checkpoints.write(self.fingerprint, orjson.dumps([trial.to_json() for trial in trials]))


NO_CHECKPOINT = RaceCheckpoint()
