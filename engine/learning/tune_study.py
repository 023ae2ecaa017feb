"""The study file of `tune`: all its trials in one JSON file, replaced atomically after every trial.

A killed search loses at most one trial. Trials count only for the data they were made on; on other data a search
starts from the best of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from engine.atomic import write
from engine.errors import InputError
from engine.learning.trials import Trial
from engine.values.splits import Split


def split_fingerprint(split: Split) -> str:
    """A digest of the interactions of the training and the test part."""
    digest = hashlib.sha256()
    for matrix in (split.train.matrix, split.test):
        for array in (matrix.indptr, matrix.indices, matrix.data):
            digest.update(array.tobytes())
    return digest.hexdigest()[:32]


def load_trials(path: Path | None, data: str) -> tuple[list[Trial], list[Trial]]:
    """(trials of this data, trials of other data), empty without a file. InputError if the file is not a study."""
    if path is None or not path.exists():
        return [], []
    try:
        body = json.loads(path.read_bytes())
        trials = [Trial(**each) for each in body["trials"]]
        return (trials, []) if body["data"] == data else ([], trials)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a study of nearfield ({error}); delete it to start a new one") from None


def save_trials(path: Path | None, data: str, trials: Sequence[Trial]) -> None:
    """Replace the study file; `data` is the `split_fingerprint`. Does nothing without a path."""
    if path is not None:
        body = {"data": data, "trials": [asdict(trial) | {"params": dict(trial.params)} for trial in trials]}
        write(path, json.dumps(body).encode())
