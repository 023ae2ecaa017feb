"""The most memory that was taken."""

from __future__ import annotations

import resource
import sys

import torch


def peak_mb(device: str) -> int:
    """MiB, of the process since it started; on a GPU of torch there since the process started."""
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated(torch.device(device)) / 2**20)
    unit = 2**20 if sys.platform == "darwin" else 2**10  # what ru_maxrss counts in
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit
