"""Study: the trials of `tune` in one JSON file, replaced as a whole after every trial, so that a kill loses one trial.

Trials count for the data and the seed they were made on; on other data the search starts from the best of them.
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
    """Of the cells that are learnt from and scored."""
    digest = hashlib.sha256()
    for matrix in (split.train.matrix, split.test):
        for array in (matrix.indptr, matrix.indices, matrix.data):
            digest.update(array.tobytes())
    return digest.hexdigest()[:32]


def load_trials(path: Path | None, data: str) -> tuple[list[Trial], list[Trial]]:
    """(trials of this data, trials of other data); none without a file. InputError for a file that is not a study."""
    if path is None or not path.exists():
        return [], []
    try:
        body = json.loads(path.read_bytes())
        trials = [Trial(**each) for each in body["trials"]]
        return (trials, []) if body["data"] == data else ([], trials)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a study of nearfield ({error}); delete it to begin again") from None


def save_trials(path: Path | None, data: str, trials: Sequence[Trial]) -> None:
    if path is not None:
        body = {"data": data, "trials": [asdict(trial) | {"params": dict(trial.params)} for trial in trials]}
        write(path, json.dumps(body).encode())
