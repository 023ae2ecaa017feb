"""The gauge of /metrics for the free memory of the GPU that searches."""

from __future__ import annotations

from api.monitoring.metrics import Metrics, forget
from engine.errors import DeviceUnavailable
from indexing.recipes.faiss_gpu import free_bytes, parse_device

TIMEOUT_S = 5.0  # for a driver that hangs; below the usual 10 s of a Prometheus scrape


def set_gpu(metrics: Metrics, device: str) -> None:
    """Sets no gauge for a server on the CPU, or while the driver does not answer."""
    gpu = parse_device(device)
    if gpu is None:
        return
    try:
        metrics.gpu_free_bytes.labels(str(gpu)).set(free_bytes(gpu, TIMEOUT_S))
    except DeviceUnavailable:
        forget(metrics.gpu_free_bytes, str(gpu))
