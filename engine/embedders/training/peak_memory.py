"""Peak memory of the process."""

from __future__ import annotations

import resource
import sys

import torch


def peak_mb(device: str) -> int:
    """Peak MiB since the process started: resident memory for the CPU, memory allocated by torch for a GPU."""
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated(torch.device(device)) / 2**20)
    unit = 2**20 if sys.platform == "darwin" else 2**10  # the unit of ru_maxrss
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit
