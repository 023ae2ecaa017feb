"""Checkpoints of a gradient descent: parameters, Adam's moments, random generator, position and losses.

A descent that resumes from one ends bit for bit as if it had not stopped.
"""

from __future__ import annotations

import hashlib
import io
import time
from dataclasses import asdict, dataclass, field

import scipy.sparse as sp
import torch

from engine.checkpoints import Checkpoints


@dataclass
class DescentState:
    """The position of a descent: `batch` batches of `epoch` are done, and their losses sum to `total`."""

    epoch: int = 1
    batch: int = 0
    step: int = 0  # batches so far over all epochs
    total: float | torch.Tensor = 0.0
    losses: list[float] = field(default_factory=list)  # of the completed epochs


class DescentCheckpoint:
    """Saves and restores one descent; does nothing if `checkpoints` is None."""

    def __init__(
        self,
        checkpoints: Checkpoints | None,
        fingerprint: str,
        optimiser: torch.optim.Optimizer,
        generator: torch.Generator,
    ):
        self.checkpoints, self.fingerprint = checkpoints, fingerprint
        self.optimiser, self.generator = optimiser, generator
        self.written_at, self.is_saved = time.perf_counter(), False

    def restore(self, name: str, epochs: int) -> DescentState:
        """The saved position, with parameters, moments and generator set as they were; the start if none is saved."""
        content = self.checkpoints.read(self.fingerprint) if self.checkpoints else None
        if self.checkpoints is None or content is None:
            return DescentState()
        saved = torch.load(io.BytesIO(content), weights_only=True)
        with torch.no_grad():
            for parameter, value in zip(parameters_of(self.optimiser), saved["parameters"], strict=True):
                parameter.copy_(value)
        self.optimiser.load_state_dict(saved["optimiser"])
        self.generator.set_state(saved["generator"].cpu())
        self.is_saved, state = True, DescentState(**saved["place"])
        where = f"pass {state.epoch} of {epochs}" if state.epoch <= epochs else "its end"
        self.checkpoints.messages.append(f"{name} resumed at {where}")
        return state

    def save_if_due(self, state: DescentState) -> None:
        """Save if the last save is `every_s` ago."""
        if self.checkpoints is not None and time.perf_counter() - self.written_at >= self.checkpoints.every_s:
            self._write(self.checkpoints, state)

    def save_end(self, state: DescentState) -> None:
        """Save the end of a training long enough to have been saved before: the steps after it may be killed too."""
        if self.checkpoints is not None and self.is_saved:
            self._write(self.checkpoints, state)

    def discard(self) -> None:
        if self.checkpoints is not None:
            self.checkpoints.delete(self.fingerprint)

    def _write(self, checkpoints: Checkpoints, state: DescentState) -> None:
        buffer = io.BytesIO()
        saved = {
            "parameters": [parameter.detach() for parameter in parameters_of(self.optimiser)],
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "place": asdict(state),
        }
        torch.save(saved, buffer)
        checkpoints.write(self.fingerprint, buffer.getvalue())
        self.written_at, self.is_saved = time.perf_counter(), True


def fingerprint(matrix: sp.csr_matrix, *settings: object) -> str:
    """A digest of the data and of the repr of everything else that determines the result."""
    digest = hashlib.sha256(repr((matrix.shape, torch.__version__, *settings)).encode())
    for array in (matrix.indptr, matrix.indices, matrix.data):
        digest.update(array.tobytes())
    return digest.hexdigest()[:32]


def parameters_of(optimiser: torch.optim.Optimizer) -> list[torch.nn.Parameter]:
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]
