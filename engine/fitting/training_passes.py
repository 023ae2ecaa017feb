"""Which hyper-parameter of an embedder counts its passes over the data, and progress reports pass by pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from engine.latent_space.space import Embedder
from engine.progress import Progress

PASSES_PARAMETER: Mapping[str, str] = {
    "ials": "iterations",
    "mf": "epochs",
    "elsa": "epochs",
    "multvae": "epochs",
    "item2vec": "epochs",
}
# A blend is never stopped after a third of its passes: its closed-form parts take time as well.
REPORTED_PASSES_PARAMETER: Mapping[str, str] = {**PASSES_PARAMETER, "blend": "sphere_epochs"}

PassReport = Callable[[int, float, float], None]  # pass from 1, mean loss, seconds


def report_passes(progress: Progress, what: str, start: float, end: float, embedder: Embedder) -> PassReport:
    """A `PassReport` that forwards each pass to `progress`, as a share between `start` and `end`."""
    passes = int(getattr(embedder, REPORTED_PASSES_PARAMETER.get(embedder.name, "epochs"), 1))

    def report(done: int, loss: float, seconds: float) -> None:
        progress(f"{what}, pass {done}, loss {loss:.4g}", start + (end - start) * min(1.0, done / max(1, passes)))

    return report
