"""Memory-maps the arrays of a safetensors file, so that the workers of a server share one copy."""

from __future__ import annotations

import json
import mmap
from pathlib import Path

import numpy as np
import numpy.typing as npt

DTYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "I8": "i1", "I32": "<i4", "I64": "<i8", "U8": "u1", "BOOL": "?"}


def map_arrays(path: Path) -> dict[str, npt.NDArray]:
    """Name -> read-only array. The file format is 8 bytes of header length, a JSON header, then the arrays."""
    with path.open("rb") as file:
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    data = np.frombuffer(whole, np.uint8)
    start = 8 + int(data[:8].view("<u8")[0])
    header = json.loads(bytes(data[8:start]))
    return {
        name: data[start + each["data_offsets"][0] : start + each["data_offsets"][1]]
        .view(DTYPES[each["dtype"]])
        .reshape(each["shape"])
        for name, each in header.items()
        if name != "__metadata__"
    }
