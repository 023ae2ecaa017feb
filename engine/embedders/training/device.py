"""The torch device of a name, and the memory that is free on a GPU; one asked for and not there is an error."""

from __future__ import annotations

import warnings

import torch

from engine.errors import DeviceUnavailable, InputError


def pick(device: str) -> torch.device:
    # torch calls its sparse CSR tensors beta at first use; this project's warnings are errors
    warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
    if device == "cpu":
        return torch.device("cpu")
    if not device.startswith("cuda"):
        raise InputError(f"expected a device of cpu or cuda, got {device!r}", loc=("device",))
    if not torch.cuda.is_available():
        raise DeviceUnavailable("cuda was asked for and torch sees no GPU here; use --device cpu")
    return torch.device(device)


def free_bytes(device: str) -> int:
    """Of a GPU, what torch holds there without using it included."""
    where = pick(device)
    free, _ = torch.cuda.mem_get_info(where)
    return int(free + torch.cuda.memory_reserved(where) - torch.cuda.memory_allocated(where))
