"""Free memory of the GPU that a server searches on, for /metrics."""

from __future__ import annotations

from api.monitoring.metrics import Metrics, forget
from engine.errors import DeviceUnavailable
from indexing.recipes.faiss_gpu import asked, free_bytes

WITHIN_S = 5.0  # a driver that hangs may hold up a scrape, not outlast its patience


def set_gpu(metrics: Metrics, device: str) -> None:
    """Nothing for the CPU, nor while the driver does not tell."""
    gpu = asked(device)
    if gpu is None:
        return
    try:
        metrics.gpu_free_bytes.labels(str(gpu)).set(free_bytes(gpu, WITHIN_S))
    except DeviceUnavailable:
        forget(metrics.gpu_free_bytes, str(gpu))
