"""What a descent needs to go on exactly where it was: parameters, Adam's moments, generator, place and losses."""

from __future__ import annotations

import hashlib
import io
import time
from dataclasses import asdict, dataclass, field

import scipy.sparse as sp
import torch

from engine.checkpoints import Checkpoints


@dataclass
class Place:
    """Where a descent is: `batch` batches of `epoch` are done, with losses of sum `total`."""

    epoch: int = 1
    batch: int = 0
    step: int = 0  # batches of all epochs
    total: float | torch.Tensor = 0.0
    losses: list[float] = field(default_factory=list)  # of the epochs before


class Keeper:
    """Saves and restores one descent in checkpoints; does nothing without any."""

    def __init__(
        self,
        checkpoints: Checkpoints | None,
        fingerprint: str,
        optimiser: torch.optim.Optimizer,
        generator: torch.Generator,
    ):
        self.checkpoints, self.fingerprint = checkpoints, fingerprint
        self.optimiser, self.generator = optimiser, generator
        self.written_at, self.is_kept = time.perf_counter(), False

    def restored(self, name: str, epochs: int) -> Place:
        """The beginning, or where the checkpoint is, with parameters, moments and generator as they were."""
        content = self.checkpoints.read(self.fingerprint) if self.checkpoints else None
        if self.checkpoints is None or content is None:
            return Place()
        kept = torch.load(io.BytesIO(content), weights_only=True)
        with torch.no_grad():
            for parameter, value in zip(parameters_of(self.optimiser), kept["parameters"], strict=True):
                parameter.copy_(value)
        self.optimiser.load_state_dict(kept["optimiser"])
        self.generator.set_state(kept["generator"].cpu())
        self.is_kept, place = True, Place(**kept["place"])
        where = f"pass {place.epoch} of {epochs}" if place.epoch <= epochs else "its end"
        self.checkpoints.messages.append(f"{name} went on at {where}")
        return place

    def now_and_then(self, place: Place) -> None:
        if self.checkpoints is not None and time.perf_counter() - self.written_at >= self.checkpoints.every_s:
            self._write(self.checkpoints, place)

    def finished(self, place: Place) -> None:
        """Keep the end of a training that was long enough to be kept: what follows it may be killed too."""
        if self.checkpoints is not None and self.is_kept:
            self._write(self.checkpoints, place)

    def forget(self) -> None:
        if self.checkpoints is not None:
            self.checkpoints.delete(self.fingerprint)

    def _write(self, checkpoints: Checkpoints, place: Place) -> None:
        buffer = io.BytesIO()
        kept = {
            "parameters": [parameter.detach() for parameter in parameters_of(self.optimiser)],
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "place": asdict(place),
        }
        torch.save(kept, buffer)
        checkpoints.write(self.fingerprint, buffer.getvalue())
        self.written_at, self.is_kept = time.perf_counter(), True


def fingerprint(matrix: sp.csr_matrix, *told: object) -> str:
    """Of the data and of everything else that decides what is learnt, by its repr."""
    digest = hashlib.sha256(repr((matrix.shape, torch.__version__, *told)).encode())
    for array in (matrix.indptr, matrix.indices, matrix.data):
        digest.update(array.tobytes())
    return digest.hexdigest()[:32]


def parameters_of(optimiser: torch.optim.Optimizer) -> list[torch.nn.Parameter]:
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]
