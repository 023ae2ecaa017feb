"""The torch device of a name, and the free memory of a GPU. A GPU that is requested but missing is an error."""

from __future__ import annotations

import warnings

import torch

from engine.errors import DeviceUnavailable, InputError


def torch_device(device: str) -> torch.device:
    """The torch device of `cpu`, `cuda` or `cuda:N`. InputError for another name, DeviceUnavailable without a GPU."""
    # torch warns at first use that sparse CSR tensors are beta; warnings are errors in this project
    warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
    if device == "cpu":
        return torch.device("cpu")
    if not device.startswith("cuda"):
        raise InputError(f"expected a device of cpu or cuda, got {device!r}", loc=("device",))
    if not torch.cuda.is_available():
        raise DeviceUnavailable("cuda was requested, but torch sees no GPU here; use --device cpu")
    return torch.device(device)


def free_gpu_bytes(device: str) -> int:
    """Free bytes of a GPU, including memory that torch has reserved but does not use."""
    target = torch_device(device)
    free, _ = torch.cuda.mem_get_info(target)
    return int(free + torch.cuda.memory_reserved(target) - torch.cuda.memory_allocated(target))
